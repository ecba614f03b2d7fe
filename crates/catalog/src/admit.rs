//! Admission: a call's arguments, and a handler's result, against the definition.

use crate::Definition;
use crate::check::{self, Fault};
use crate::shape::{Record, Rule, Shape};
use kruxos_types::{CallError, Object};
use serde_json::Value;

impl Definition {
    /// Checks a call's arguments against the definition and fills in defaults. No arguments at all
    /// (`null`) are no arguments (`{}`); an integer may be written `3.0`.
    ///
    /// # Errors
    /// `InvalidInput` that names the field (`aggregate.by`, `ids[3]`), the reason and what was expected.
    /// Unknown fields are refused with the nearest name.
    pub fn admit(&self, arguments: Value) -> Result<Object, CallError> {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => Object::new(),
            _ => {
                let expected = self.input_shape.expected();
                return Err(CallError::invalid_input(
                    "arguments",
                    "they are not an object",
                    &expected,
                ));
            }
        };
        self.admitted(arguments, |map, record| check::in_record(map, record, 0))
    }

    /// [`Definition::admit`] for questions about a call that need not be complete: what is left out is
    /// left out, what is given must be right.
    ///
    /// # Errors
    /// As for [`Definition::admit`], but for inputs that are missing.
    pub fn admit_partly(&self, arguments: Object) -> Result<Object, CallError> {
        self.admitted(arguments, check::partly_in_record)
    }

    fn admitted(
        &self,
        mut arguments: Object,
        check: fn(&Object, &Record) -> check::Checked,
    ) -> Result<Object, CallError> {
        let Rule::Object(record) = &self.input_shape.rule else {
            return Err(CallError::internal_failure(
                "the inputs of a definition are not an object",
            ));
        };
        let loose = check(&arguments, record).map_err(|fault| refuse(&fault))?;
        if loose {
            integers_in(&mut arguments, record);
        }
        for member in &record.members {
            if let Some(default) = &member.default
                && !arguments.contains_key(&*member.name)
            {
                arguments.insert(member.name.to_string(), default.clone());
            }
        }
        Ok(arguments)
    }

    /// Checks a handler's result. `Err` names the first field that breaks the definition.
    ///
    /// # Errors
    /// `Internal` with the field as its internal cause.
    pub fn check_output(&self, output: &Value) -> Result<(), CallError> {
        let checked = check::value(output, &self.output_shape, 0);
        checked.map(drop).map_err(|fault| {
            let field = if output.is_object() {
                fault.field()
            } else {
                "result".to_owned()
            };
            let Fault {
                reason, expected, ..
            } = *fault;
            CallError::internal_failure(format!(
                "the result of {} breaks its definition at {field}: {reason}; expected {expected}",
                self.name
            ))
        })
    }
}

fn refuse(fault: &Fault) -> CallError {
    CallError::invalid_input(&fault.field(), &fault.reason, &fault.expected)
}

/// Turns `3.0` into `3` wherever the definition says integer, so that handlers see one spelling.
fn integers_in(map: &mut Object, record: &Record) {
    for (name, value) in map.iter_mut() {
        let member = record.members.iter().find(|member| *member.name == **name);
        if let Some(shape) = member.map(|member| &member.shape).or(record.rest.as_ref()) {
            integers(value, shape);
        }
    }
}

fn integers(value: &mut Value, shape: &Shape) {
    match (&shape.rule, value) {
        (Rule::Integer { .. }, value) => {
            let Value::Number(number) = &*value else {
                return;
            };
            if let Some(integer) = number.is_f64().then(|| check::integer(number)).flatten() {
                *value = Value::from(integer);
            }
        }
        (Rule::Array(list), Value::Array(items)) => {
            items
                .iter_mut()
                .for_each(|item| integers(item, &list.items));
        }
        (Rule::Object(record), Value::Object(map)) => integers_in(map, record),
        _ => {}
    }
}
