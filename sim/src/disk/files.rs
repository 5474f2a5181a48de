//! The real disk: a directory a node, for `serve`.
//!
//! Files have Kafka's names where Kafka has them. A replaced file is written beside the old one,
//! flushed and renamed over it, so that there is always the old or the new. Appends go to the page
//! cache, and survive `kill -9`; a flush is an `fsync`, of the directory too where a name is new.
//! A disk that fails while nodes run ends the process, as Kafka halts a broker without log
//! directories: going on would acknowledge what is not stored.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use broker_model::effect::{DiskRead, File, Write};
use broker_model::input::DiskResult;
use broker_model::types::{TopicIdPartition, Uuid};
use bytes::{Bytes, BytesMut};

use super::{Disk, FlushTicket, SimDisk};

/// One node's directory.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
    /// The length of every file that exists, in bytes.
    lengths: BTreeMap<File, u64>,
    open: RefCell<OpenFiles>,
    /// Files whose name the directory may lose at a power loss.
    unlisted: BTreeSet<File>,
    /// Held while the node runs, so that no second process writes here.
    _lock: fs::File,
}

impl FileDisk {
    /// Opens a node's directory, or makes it.
    ///
    /// # Errors
    ///
    /// One line that names the path: it cannot be read or written, or another process has it.
    pub fn open(root: &Path) -> Result<Self, String> {
        let failed = |path: &Path, error: &io::Error| {
            format!("data directory {}: {}", path.display(), reason(error))
        };
        fs::create_dir_all(root).map_err(|error| failed(root, &error))?;
        let lock_path = root.join(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| failed(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let root = root.display();
                return Err(format!("data directory {root}: another process uses it"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&lock_path, &error)),
        }
        let lengths = existing(root).map_err(|(path, error)| failed(&path, &error))?;
        Ok(FileDisk {
            root: root.to_owned(),
            lengths,
            open: RefCell::default(),
            unlisted: BTreeSet::new(),
            _lock: lock,
        })
    }

    fn path(&self, file: File) -> PathBuf {
        self.root.join(relative(file))
    }

    /// Does something with an open file; the process ends if it cannot be done.
    fn with<R>(&self, file: File, verb: &str, act: impl FnOnce(&fs::File) -> io::Result<R>) -> R {
        let path = self.path(file);
        let mut open = self.open.borrow_mut();
        let done = open.get(file, &path).and_then(act);
        done.unwrap_or_else(|error| fail(verb, &path, &error))
    }

    fn append(&mut self, file: File, bytes: &[u8]) {
        let at = self.lengths.get(&file).copied();
        if at.is_none() {
            self.create(file);
        }
        let at = at.unwrap_or(0);
        self.with(file, "append to", |handle| handle.write_all_at(bytes, at));
        self.lengths.insert(file, at + bytes.len() as u64);
    }

    fn create(&mut self, file: File) {
        let path = self.path(file);
        let directory = path.parent().expect("files lie in the node's directory");
        if let Err(error) = fs::create_dir_all(directory) {
            fail("create", directory, &error);
        }
        self.unlisted.insert(file);
    }

    fn truncate(&mut self, file: File, len: u64) {
        self.with(file, "truncate", |handle| handle.set_len(len));
        self.lengths.insert(file, len);
    }

    fn replace(&mut self, file: File, bytes: &[u8]) {
        self.create(file);
        self.open.get_mut().forget(file);
        let path = self.path(file);
        let beside = path.with_extension("tmp");
        let written = fs::File::create(&beside).and_then(|handle| {
            handle.write_all_at(bytes, 0)?;
            handle.sync_all()
        });
        if let Err(error) = written.and_then(|()| fs::rename(&beside, &path)) {
            fail("replace", &path, &error);
        }
        self.lengths.insert(file, bytes.len() as u64);
    }

    fn delete(&mut self, file: File) {
        if self.lengths.remove(&file).is_none() {
            return;
        }
        self.open.get_mut().forget(file);
        let path = self.path(file);
        let removed = match file {
            File::PartitionLog(_) => {
                let directory = path.parent().expect("a log has a directory of its own");
                fs::remove_dir_all(directory)
            }
            _ => fs::remove_file(&path),
        };
        if let Err(error) = removed {
            fail("delete", &path, &error);
        }
        self.unlisted.insert(file);
    }

    /// Makes the file's name durable, from its own directory up to the node's.
    fn sync_directories(&self, file: File) {
        let path = self.path(file);
        let directories = path.ancestors().skip(1);
        for directory in directories.take_while(|directory| directory.starts_with(&self.root)) {
            match fs::File::open(directory).and_then(|handle| handle.sync_all()) {
                Ok(()) => {}
                // A deleted log took its directory along.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => fail("flush", directory, &error),
            }
        }
    }
}

impl Disk for FileDisk {
    fn write(&mut self, _now_us: u64, file: File, write: Write) {
        match write {
            Write::Append(bytes) => self.append(file, &bytes),
            Write::Truncate { len } => self.truncate(file, len),
            Write::Replace(bytes) => self.replace(file, &bytes),
            Write::Delete => self.delete(file),
        }
    }

    fn begin_flush(&mut self, file: File) -> FlushTicket {
        let len = self.lengths.get(&file).copied().unwrap_or(0);
        FlushTicket { len, version: 0 }
    }

    fn end_flush(&mut self, file: File, _ticket: FlushTicket) -> DiskResult {
        if self.lengths.contains_key(&file) {
            self.with(file, "flush", fs::File::sync_data);
        }
        if self.unlisted.remove(&file) {
            self.sync_directories(file);
        }
        Ok(())
    }

    fn as_read(&self) -> &dyn DiskRead {
        self
    }

    fn simulated(&mut self) -> Option<&mut SimDisk> {
        None
    }
}

impl DiskRead for FileDisk {
    fn len(&self, file: File) -> Option<u64> {
        self.lengths.get(&file).copied()
    }

    fn read(&self, file: File, at: u64, len: usize) -> Bytes {
        let mut bytes = BytesMut::zeroed(len);
        self.with(file, "read", |handle| handle.read_exact_at(&mut bytes, at));
        bytes.freeze()
    }

    fn partition_logs(&self) -> Vec<TopicIdPartition> {
        let files = self.lengths.keys();
        files
            .filter_map(|file| match file {
                File::PartitionLog(partition) => Some(*partition),
                _ => None,
            })
            .collect()
    }
}

/// Open handles, so few that any number of partitions fits under the limit of descriptors.
#[derive(Debug, Default)]
struct OpenFiles {
    handles: BTreeMap<File, (u64, fs::File)>,
    /// Counts uses, to find the handle that was not used for longest.
    uses: u64,
}

/// A process may have 1,024 descriptors where nobody raised the limit, and serves three nodes.
const OPEN_FILES_MAX: usize = 128;

impl OpenFiles {
    fn get(&mut self, file: File, path: &Path) -> io::Result<&fs::File> {
        self.uses += 1;
        if !self.handles.contains_key(&file) {
            if OPEN_FILES_MAX <= self.handles.len() {
                let uses = self.handles.iter().map(|(&file, &(used, _))| (used, file));
                let (_, idle) = uses.min().expect("there are handles");
                self.handles.remove(&idle);
            }
            let handle = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            self.handles.insert(file, (self.uses, handle));
        }
        let (used, handle) = self.handles.get_mut(&file).expect("just opened");
        *used = self.uses;
        Ok(handle)
    }

    fn forget(&mut self, file: File) {
        self.handles.remove(&file);
    }
}

/// Ends the process: the disk cannot be trusted any more.
fn fail(verb: &str, path: &Path, error: &io::Error) -> ! {
    panic!("cannot {verb} {}: {}", path.display(), reason(error))
}

/// What the operating system says, as a fragment.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "not a directory".to_owned(),
        io::ErrorKind::StorageFull => "no space left".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        _ => error.to_string(),
    }
}

const METADATA_DIRECTORY: &str = "__cluster_metadata-0";
const LOG_NAME: &str = "00000000000000000000.log";
/// The files that a node has one of.
const SINGLE_FILES: [File; 6] = [
    File::MetaProperties,
    File::QuorumState,
    File::MetadataLog,
    File::HighWatermarks,
    File::LogStarts,
    File::CleanShutdown,
];

/// Where a file lies under the node's directory.
fn relative(file: File) -> PathBuf {
    match file {
        File::MetaProperties => PathBuf::from("meta.properties"),
        File::QuorumState => Path::new(METADATA_DIRECTORY).join("quorum-state"),
        File::MetadataLog => Path::new(METADATA_DIRECTORY).join(LOG_NAME),
        File::PartitionLog(TopicIdPartition { topic, partition }) => {
            PathBuf::from(format!("{}-{partition}", topic.simple())).join(LOG_NAME)
        }
        File::HighWatermarks => PathBuf::from("replication-offset-checkpoint"),
        File::LogStarts => PathBuf::from("log-start-offset-checkpoint"),
        File::CleanShutdown => PathBuf::from(".kafka_cleanshutdown"),
    }
}

/// The partition whose log lies in a directory of that name.
fn partition_named(name: &str) -> Option<TopicIdPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    Some(TopicIdPartition {
        topic: Uuid::try_parse(topic).ok()?,
        partition: partition.parse().ok()?,
    })
}

/// The files that are there, with their lengths.
fn existing(root: &Path) -> Result<BTreeMap<File, u64>, (PathBuf, io::Error)> {
    let here = |error| (root.to_owned(), error);
    let mut candidates = SINGLE_FILES.to_vec();
    for entry in fs::read_dir(root).map_err(here)? {
        let name = entry.map_err(here)?.file_name();
        let partition = name.to_str().and_then(partition_named);
        candidates.extend(partition.map(File::PartitionLog));
    }
    let mut lengths = BTreeMap::new();
    for file in candidates {
        let path = root.join(relative(file));
        match fs::metadata(&path) {
            Ok(found) => {
                lengths.insert(file, found.len());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((path, error)),
        }
    }
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes when the test is over.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("kafka-sim-{}-{name}", std::process::id());
            Scratch(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn log(partition: i32) -> File {
        File::PartitionLog(TopicIdPartition {
            topic: Uuid::from_u128(7),
            partition,
        })
    }

    fn append(disk: &mut FileDisk, file: File, text: &'static str) {
        disk.write(0, file, Write::Append(Bytes::from_static(text.as_bytes())));
    }

    #[test]
    fn what_was_written_is_there_when_the_directory_is_opened_again() {
        let scratch = Scratch::new("again");
        let mut disk = FileDisk::open(&scratch.0).expect("a fresh directory");
        append(&mut disk, File::MetadataLog, "abcdef");
        disk.write(0, File::MetadataLog, Write::Truncate { len: 4 });
        append(&mut disk, log(3), "x");
        let state = Bytes::from_static(b"epoch 3");
        disk.write(0, File::QuorumState, Write::Replace(state.clone()));
        let ticket = disk.begin_flush(File::QuorumState);
        assert_eq!(disk.end_flush(File::QuorumState, ticket), Ok(()));
        drop(disk);
        let disk = FileDisk::open(&scratch.0).expect("the same directory");
        assert_eq!(
            disk.read_all(File::MetadataLog).as_deref(),
            Some(&b"abcd"[..])
        );
        assert_eq!(disk.read_all(File::QuorumState), Some(state));
        let File::PartitionLog(partition) = log(3) else {
            unreachable!("a log is a log");
        };
        assert_eq!(disk.partition_logs(), [partition]);
        assert_eq!(disk.len(File::HighWatermarks), None);
    }

    #[test]
    fn a_deleted_log_is_gone_and_may_come_back() {
        let scratch = Scratch::new("deleted");
        let mut disk = FileDisk::open(&scratch.0).expect("a fresh directory");
        append(&mut disk, log(0), "old");
        disk.write(0, log(0), Write::Delete);
        assert_eq!(disk.len(log(0)), None);
        append(&mut disk, log(0), "new");
        assert_eq!(disk.read_all(log(0)).as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn more_logs_than_handles_can_be_open() {
        let scratch = Scratch::new("handles");
        let mut disk = FileDisk::open(&scratch.0).expect("a fresh directory");
        let partitions = 0..i32::try_from(OPEN_FILES_MAX + 10).expect("few");
        for _ in 0..2 {
            partitions
                .clone()
                .for_each(|n| append(&mut disk, log(n), "ab"));
        }
        assert!(disk.open.borrow().handles.len() <= OPEN_FILES_MAX);
        for n in partitions {
            assert_eq!(disk.read_all(log(n)).as_deref(), Some(&b"abab"[..]));
        }
    }

    #[test]
    fn a_directory_has_one_owner() {
        let scratch = Scratch::new("owner");
        let _disk = FileDisk::open(&scratch.0).expect("a fresh directory");
        let error = FileDisk::open(&scratch.0).expect_err("it is taken");
        assert!(error.ends_with("another process uses it"), "{error}");
    }

    #[test]
    fn a_directory_that_is_a_file_is_refused_in_one_line() {
        let scratch = Scratch::new("file");
        fs::write(&scratch.0, "not a directory").expect("a temporary file");
        let error = FileDisk::open(&scratch.0).expect_err("it is a file");
        assert!(error.ends_with("not a directory"), "{error}");
        fs::remove_file(&scratch.0).expect("it was there");
    }
}
