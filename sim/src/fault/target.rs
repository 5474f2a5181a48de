//! Whom a fault hits, said in words and resolved when it strikes.

use std::fmt;
use std::str::FromStr;

/// A target as scenario files say it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// `n2`
    Node(i32),
    /// `leader of orders-0`, `leader of orders-*`
    Leader(PartitionName),
    /// `follower of orders-0`: one of its in-sync followers, if there is any.
    Follower(PartitionName),
    /// `controller leader`: the active controller.
    ControllerLeader,
    /// `any node`
    AnyNode,
    /// `any broker`
    AnyBroker,
    /// `client p/0`, `client p/*`
    Client(String),
    /// `clients`
    Clients,
    /// `rest`: every other node.
    Rest,
    /// `everyone`: every other process, clients included.
    Everyone,
}

/// `orders-0` or `orders-*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionName {
    /// The topic.
    pub topic: String,
    /// The partition; `None` picks one.
    pub partition: Option<i32>,
}

impl FromStr for PartitionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed =
            || format!("partition {text:?} is not of the form \"orders-0\" or \"orders-*\"");
        let (topic, index) = text.rsplit_once('-').ok_or_else(malformed)?;
        let partition = match index {
            "*" => None,
            number => Some(number.parse().map_err(|_| malformed())?),
        };
        Ok(PartitionName {
            topic: topic.to_owned(),
            partition,
        })
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(index) => write!(f, "{}-{index}", self.topic),
            None => write!(f, "{}-*", self.topic),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(partition) = text.strip_prefix("leader of ") {
            return Ok(Target::Leader(partition.parse()?));
        }
        if let Some(partition) = text.strip_prefix("follower of ") {
            return Ok(Target::Follower(partition.parse()?));
        }
        if let Some(name) = text.strip_prefix("client ") {
            return Ok(Target::Client(name.to_owned()));
        }
        let node = text.strip_prefix('n').and_then(|id| id.parse().ok());
        match (text, node) {
            ("controller leader", _) => Ok(Target::ControllerLeader),
            ("any node", _) => Ok(Target::AnyNode),
            ("any broker", _) => Ok(Target::AnyBroker),
            ("clients", _) => Ok(Target::Clients),
            ("rest", _) => Ok(Target::Rest),
            ("everyone", _) => Ok(Target::Everyone),
            (_, Some(id)) => Ok(Target::Node(id)),
            _ => Err(format!("unknown target {text:?}; {TARGETS}")),
        }
    }
}

const TARGETS: &str = "a target is \"n1\", \"leader of orders-0\", \"follower of orders-0\", \
     \"controller leader\", \"any node\", \"any broker\", \"client p/0\", \"clients\", \"rest\" or \
     \"everyone\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_said_in_words() {
        let orders = PartitionName {
            topic: "my-orders".to_owned(),
            partition: Some(0),
        };
        assert_eq!("leader of my-orders-0".parse(), Ok(Target::Leader(orders)));
        assert_eq!("n12".parse(), Ok(Target::Node(12)));
        let error = "leadr of orders-0"
            .parse::<Target>()
            .expect_err("it is misspelt");
        assert!(error.contains("leader of orders-0"), "{error}");
    }
}
