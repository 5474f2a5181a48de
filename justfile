# Writes nothing.
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# Formats.
fix:
    cargo fmt

# Every scenario on that many seeds.
sweep seeds="64":
    cargo sim sweep --seeds 1..{{seeds}}

# Every historic bug from three starting seeds.
bugs:
    cargo sim bugs

# Speed.
bench:
    cargo sim bench

# What the build machine runs.
ci:
    .ci/run
