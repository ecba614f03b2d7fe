//! Where tests get in between. Nothing of it is in the program.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    /// An approved call has its audit intent and runs now.
    ApprovedCallBegun,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// What happens at which place.
#[derive(Default)]
pub(crate) struct Hooks(Mutex<HashMap<Point, Hook>>);

impl Hooks {
    pub(crate) fn set(&self, point: Point, hook: impl Fn() + Send + Sync + 'static) {
        self.0.lock().unwrap().insert(point, Arc::new(hook));
    }

    pub(crate) fn reached(&self, point: Point) {
        let hook = self.0.lock().unwrap().get(&point).cloned();
        if let Some(hook) = hook {
            hook();
        }
    }
}
