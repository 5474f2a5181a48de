//! Where `serve` keeps its data: a directory a node, and what the cluster as a whole is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::files::FileDisk;

/// The directory of a cluster.
#[derive(Debug)]
pub(super) struct DataDirectory {
    root: PathBuf,
    cluster_id: String,
    /// Whether it goes when the cluster does.
    temporary: bool,
}

/// Says what the cluster in a directory is.
const CLUSTER_PROPERTIES: &str = "cluster.properties";

impl DataDirectory {
    /// Opens the directory of a cluster of so many nodes, or makes it.
    ///
    /// # Errors
    ///
    /// One line that names the path and what is wrong with it.
    pub(super) fn open(root: Option<&Path>, nodes: u16) -> Result<Self, String> {
        let id = super::entropy()?.0;
        let temporary = root.is_none();
        let root = root.map_or_else(
            || std::env::temp_dir().join(format!("kafka-sim-{id:016x}")),
            Path::to_owned,
        );
        let cannot = |error: io::Error| format!("data directory {}: {error}", root.display());
        fs::create_dir_all(&root).map_err(cannot)?;
        let path = root.join(CLUSTER_PROPERTIES);
        let cluster_id = match fs::read_to_string(&path) {
            Ok(text) => known_cluster(&text, nodes)
                .map_err(|error| format!("data directory {}: {error}", root.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let cluster_id = format!("kafka-sim-{id:012x}");
                let text = format!("cluster.id={cluster_id}\nnodes={nodes}\n");
                fs::write(&path, text).map_err(cannot)?;
                cluster_id
            }
            Err(error) => return Err(cannot(error)),
        };
        Ok(DataDirectory {
            root,
            cluster_id,
            temporary,
        })
    }

    /// `cluster.id`.
    pub(super) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The disk of the node with that id.
    pub(super) fn node(&self, id: u16) -> Result<FileDisk, String> {
        FileDisk::open(&self.root.join(format!("n{id}")))
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        if self.temporary {
            // What cannot be removed stays for the operating system to clean up.
            drop(fs::remove_dir_all(&self.root));
        }
    }
}

/// The id of the cluster whose properties these are, if it has that many nodes.
fn known_cluster(text: &str, nodes: u16) -> Result<String, String> {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    };
    match (value("cluster.id"), value("nodes").map(str::parse::<u16>)) {
        (Some(id), Some(Ok(before))) if before == nodes => Ok(id.to_owned()),
        (Some(_), Some(Ok(before))) => Err(format!(
            "it holds a cluster of {before} nodes; serve it with --nodes {before}"
        )),
        _ => Err(format!("{CLUSTER_PROPERTIES} is not of our making")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_remembers_its_cluster() {
        let text = "cluster.id=abc\nnodes=3\n";
        assert_eq!(known_cluster(text, 3).as_deref(), Ok("abc"));
        let error = known_cluster(text, 5).expect_err("it has three nodes");
        assert!(error.contains("--nodes 3"), "{error}");
        assert!(known_cluster("", 3).is_err());
    }
}
