//! Something for each offset, cheap where offsets are dense and possible where they are not.

use std::collections::BTreeMap;

const CHUNK: i64 = 256;

/// Something for each offset; the default where nothing was put.
#[derive(Debug, Default)]
pub(crate) struct Sparse<T> {
    chunks: BTreeMap<i64, Vec<T>>,
}

impl<T: Copy + Default> Sparse<T> {
    /// What is at the offset.
    pub(crate) fn at(&self, offset: i64) -> T {
        self.chunks
            .get(&offset.div_euclid(CHUNK))
            .map(|chunk| chunk[slot(offset)])
            .unwrap_or_default()
    }

    /// The place of the offset.
    pub(super) fn cell(&mut self, offset: i64) -> &mut T {
        let chunk = self.chunks.entry(offset.div_euclid(CHUNK));
        let chunk = chunk.or_insert_with(|| vec![T::default(); CHUNK.unsigned_abs() as usize]);
        &mut chunk[slot(offset)]
    }

    /// Forgets everything at that offset and behind.
    pub(super) fn clear_from(&mut self, offset: i64) {
        let first = offset.div_euclid(CHUNK);
        self.chunks.split_off(&(first + 1));
        if let Some(chunk) = self.chunks.get_mut(&first) {
            chunk[slot(offset)..].fill(T::default());
        }
    }

    /// Every offset of the chunks that hold something, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, T)> + '_ {
        self.chunks
            .iter()
            .flat_map(|(&first, chunk)| (first * CHUNK..).zip(chunk.iter().copied()))
    }
}

fn slot(offset: i64) -> usize {
    usize::try_from(offset.rem_euclid(CHUNK)).expect("a remainder is not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there_until_it_is_cleared() {
        let mut sparse = Sparse::default();
        *sparse.cell(3) = 1;
        *sparse.cell(300) = 2;
        *sparse.cell(301) = 3;
        *sparse.cell(9_000_000_000) = 4;
        sparse.clear_from(301);
        let there: Vec<_> = sparse.iter().filter(|&(_, what)| what != 0).collect();
        assert_eq!(there, [(3, 1), (300, 2)]);
        assert_eq!(sparse.at(301), 0);
    }
}
