//! `--set NAME=VALUE`: a property for every node, topic and client that knows it.

use broker_model::config::{ADMIN, BROKER, CONSUMER, PRODUCER, PropertyTable, TOPIC};

use super::file::{Config, File};
use super::value::Setting;
use super::{Scenario, check};
use crate::nearest::unknown;

impl Scenario {
    /// The scenario with those settings of the command line in it.
    ///
    /// # Errors
    ///
    /// A setting that nothing knows, or a value that it cannot take, in one line.
    pub fn with_settings(mut self, settings: &[(String, String)]) -> Result<Scenario, String> {
        for (name, value) in settings {
            set(&mut self.file, name, value).map_err(|what| format!("--set {name}: {what}"))?;
            self.settings.push((name.clone(), value.clone()));
        }
        Ok(self)
    }
}

/// Splits `NAME=VALUE`.
///
/// # Errors
///
/// When there is no `=`.
pub fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not of the form NAME=VALUE"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn set(file: &mut File, name: &str, value: &str) -> Result<(), String> {
    let setting = Setting::parse(value)?;
    let tables = [&BROKER, &TOPIC, &PRODUCER, &CONSUMER, &ADMIN];
    if tables.iter().all(|table| table.find(name).is_none()) {
        let known = tables.iter().flat_map(|table| table.iter());
        return Err(unknown(
            "property",
            name,
            known.map(|property| property.name),
        ));
    }
    let nodes = file.nodes.iter_mut().map(|node| &mut node.config);
    let topics = file.topics.iter_mut().map(|topic| &mut topic.config);
    let producers = file
        .producers
        .iter_mut()
        .map(|producer| &mut producer.config);
    let consumers = file
        .consumers
        .iter_mut()
        .map(|consumer| &mut consumer.config);
    let admins = file.admins.iter_mut().map(|admin| &mut admin.config);
    put(&BROKER, nodes, name, &setting)?;
    put(&TOPIC, topics, name, &setting)?;
    put(&PRODUCER, producers, name, &setting)?;
    put(&CONSUMER, consumers, name, &setting)?;
    put(&ADMIN, admins, name, &setting)?;
    check::check(file)
}

fn put<'a>(
    table: &'static PropertyTable,
    configs: impl Iterator<Item = &'a mut Config>,
    name: &str,
    setting: &Setting,
) -> Result<(), String> {
    if table.find(name).is_some() {
        for config in configs {
            config.0.insert(name.to_owned(), setting.clone());
            check::config(table, config)?;
        }
    }
    Ok(())
}
