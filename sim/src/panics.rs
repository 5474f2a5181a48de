//! Panics of the model, caught with their text.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static TEXT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs it; a panic is an error with its text and place, and prints nothing.
///
/// # Errors
///
/// The panic's text and place.
pub fn catch<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    install();
    let outer = CATCHING.replace(true);
    let caught = panic::catch_unwind(AssertUnwindSafe(act));
    CATCHING.set(outer);
    caught.map_err(|payload| {
        TEXT.take()
            .unwrap_or_else(|| said(payload.as_ref()).to_owned())
    })
}

/// Makes panics inside [`catch`] quiet and remembers what they say. Others are as ever.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                // The first panic is the cause; what a destructor adds is not.
                TEXT.with_borrow_mut(|text| {
                    text.get_or_insert_with(|| describe(info));
                });
            } else {
                loud(info);
            }
        }));
    });
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(String::new, |place| {
        format!("\n  at {}:{}", place.file(), place.line())
    });
    format!("{}{place}", said(info.payload()))
}

fn said(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_text_and_place() {
        let error = catch(|| panic!("log end {} went back", 7)).map(|()| 0);
        let text = error.expect_err("it panics");
        assert!(text.starts_with("log end 7 went back\n  at "), "{text}");
        assert_eq!(catch(|| 3), Ok(3));
    }
}
