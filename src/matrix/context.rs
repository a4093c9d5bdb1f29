//! What templates see: axis values with their attributes, the axes' rows, variables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};

use super::cell::base_env_placeholder;

/// `{{ runtime }}` and `{{ runtime.attribute }}`.
#[derive(Debug)]
pub(super) struct AxisPoint {
    pub name: Arc<str>,
    pub attributes: BTreeMap<String, Value>,
}

impl Object for AxisPoint {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "name" => Some(Value::from(self.name.clone())),
            attribute => self.attributes.get(attribute).cloned(),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.attributes.keys().map(|k| Value::from(k.as_str())).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// `{{ axes.runtime["python3.11"] }}`: the rows of an axis by name.
#[derive(Debug)]
pub(super) struct AxisRows(pub BTreeMap<Arc<str>, Value>);

impl Object for AxisRows {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some(name) => self.0.get(name).cloned(),
            None => self.0.get(key.to_string().as_str()).cloned(),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|k| Value::from(k.clone())).collect())
    }
}

/// `{{ base.env.NAME }}`, filled in at assembly.
#[derive(Debug)]
pub(super) struct BaseImage;

impl Object for BaseImage {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("env")).then(|| Value::from_object(BaseEnv))
    }
}

#[derive(Debug)]
struct BaseEnv;

impl Object for BaseEnv {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        key.as_str().map(|name| Value::from(base_env_placeholder(name)))
    }
}

/// The names a template is rendered with; looked up, never copied.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope(pub Vec<(Arc<str>, Value)>);

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        self.0.iter().rev().find(|(name, _)| &**name == key).map(|(_, value)| value.clone())
    }
}
