//! Debian binary packages: reads them and unpacks them as dpkg does.
//!
//! A package is an `ar` archive with two tars (deb(5)). [`Deb::open`] reads the control archive and checks
//! the frame; [`Deb::unpack`] writes the data archive below a [`Rootfs`], any number of packages at once.
//! Scripts are not run here and dpkg's database is not written: what both need is in [`Control`] and
//! [`Unpacked`].
//!
//! The bytes are hostile until the end: every name is a [`crate::rootfs::TreePath`], every parent is
//! resolved inside the root, and what dpkg's own builder cannot make (an entry below a link of the same
//! package, a path twice, a device) is refused.

pub mod ar;
pub mod control;
mod diversions;
mod licences;
mod owners;
pub mod tar;
mod unpack;

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use cooper_core::lock::DebianArtefact;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, IGNORE_CHECK, Stream};

use crate::rootfs::{ParseTreePathError, Rootfs, RootfsError, UnpackLimits};
use ar::{ArError, Member, Members, PackageBytes, Packing};
pub use control::{Conffile, Control, ControlError, ControlFile, Stanza};
pub use diversions::{Diversions, ParseDiversionsError};
pub use licences::{Copyright, licence_evidence_in};
use tar::TarError;
pub use unpack::{Precedence, UnpackSettings, Unpacked, UnpackedConffile};

/// A package whose frame and control archive were read.
#[derive(Debug)]
pub struct Deb {
    bytes: PackageBytes,
    members: Members,
    control: Control,
}

/// Why a package is refused, or could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The outer archive.
    #[error("it is not a Debian package that can be read")]
    Archive(#[from] ArError),
    /// The control archive.
    #[error("the package's control archive is refused")]
    Control(#[from] ControlError),
    /// The file is another package than the lock says.
    #[error("the file is `{found}`, the lock says `{expected}`")]
    Identity {
        /// Name, version and architecture in the lock.
        expected: String,
        /// Those in the package.
        found: String,
    },
    /// The data archive.
    #[error("the data archive of `{package}` is malformed")]
    Data {
        /// The package.
        package: String,
        /// What is wrong.
        #[source]
        source: TarError,
    },
    /// A path in the data archive.
    #[error("the data archive of `{package}` has a path that is not accepted")]
    Path {
        /// The package.
        package: String,
        /// What is wrong.
        #[source]
        source: ParseTreePathError,
    },
    /// An entry of the data archive.
    #[error("the entry `{path}` of `{package}` is refused: {fault}")]
    Entry {
        /// The package.
        package: String,
        /// The entry.
        path: String,
        /// What is wrong.
        fault: EntryFault,
    },
    /// Two packages have the same file.
    #[error("`{package}` and `{other}` both have the file `{path}`")]
    Conflict {
        /// The package that was being unpacked.
        package: String,
        /// The package that has the file.
        other: String,
        /// The file.
        path: String,
    },
    /// The tree could not be written.
    #[error("cannot unpack `{package}`")]
    Write {
        /// The package.
        package: String,
        /// What went wrong.
        #[source]
        source: RootfsError,
    },
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// A device node.
    #[error("packages may not carry device nodes")]
    Device,
    /// A named pipe.
    #[error("packages may not carry named pipes")]
    Fifo,
    /// A kind of entry that packages do not have: sparse, multi-volume and so on.
    #[error("its type is unknown")]
    UnknownType,
    /// The same path again.
    #[error("it is there twice")]
    Duplicate,
    /// A parent is a symbolic link of the same package.
    #[error("it is below a symbolic link of the same package")]
    BelowLink,
    /// A hard link to something that is not an earlier file of the package.
    #[error("it is a hard link to something that is not an earlier file of the package")]
    HardLink,
    /// A symbolic link to nothing, or to a name with a control character.
    #[error("its link target is not a path")]
    LinkTarget,
    /// An owner or group above 65535.
    #[error("its owner or group is out of range")]
    Owner,
    /// A file larger than the limit.
    #[error("it is larger than the limit for one file")]
    TooLarge,
}

impl DebError {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Conflict { package, other, .. } => Some(format!(
                "ask for only one of `{package}` and `{other}`: they cannot be in one image"
            )),
            Self::Identity { .. } => Some("resolve again with `--refresh`".to_owned()),
            _ => None,
        }
    }
}

impl Deb {
    /// Read the frame and the control archive of a package in a file.
    pub fn open(file: File, limits: &UnpackLimits) -> Result<Self, DebError> {
        let size = file.metadata().map_err(ArError::Read)?.len();
        Self::from_package_bytes(PackageBytes::File { file, size }, limits)
    }

    /// The same for a package in memory.
    pub fn from_bytes(bytes: Vec<u8>, limits: &UnpackLimits) -> Result<Self, DebError> {
        Self::from_package_bytes(PackageBytes::Memory(bytes), limits)
    }

    fn from_package_bytes(bytes: PackageBytes, limits: &UnpackLimits) -> Result<Self, DebError> {
        let members = ar::find_members(&bytes)?;
        let stream = decoder(&bytes, &members.control, limits)
            .map_err(|error| ControlError::Tar(TarError::Read(error)))?;
        let control = Control::read(stream, limits)?;
        Ok(Self {
            bytes,
            members,
            control,
        })
    }

    /// Bytes of the package file.
    pub fn package_bytes(&self) -> u64 {
        self.bytes.size()
    }

    /// The control archive.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Whether the package is the one that the lock names.
    pub fn check_identity(&self, artefact: &DebianArtefact) -> Result<(), DebError> {
        let control = &self.control;
        let same = control.package == artefact.name
            && control.version.as_str() == artefact.version.as_str()
            && control.architecture == artefact.architecture;
        if same {
            return Ok(());
        }
        let found = format!(
            "{} {} {:?}",
            control.package, control.version, control.architecture
        );
        let expected = format!(
            "{} {} {:?}",
            artefact.name, artefact.version, artefact.architecture
        );
        Err(DebError::Identity { expected, found })
    }

    /// Unpack the data archive below `rootfs`. Directories get their metadata at [`Rootfs::settle`].
    pub fn unpack(&self, rootfs: &Rootfs, settings: &UnpackSettings<'_>) -> Result<Unpacked, DebError> {
        let stream = decoder(&self.bytes, &self.members.data, &settings.limits);
        let stream = stream.map_err(|error| DebError::Data {
            package: self.control.package.to_string(),
            source: TarError::Read(error),
        })?;
        unpack::unpack(&self.control, stream, self.bytes.size(), rootfs, settings)
    }
}

/// Decompresses one inner archive; its memory is bounded by the limits.
fn decoder<'a>(
    bytes: &'a PackageBytes,
    member: &Member,
    limits: &UnpackLimits,
) -> io::Result<Box<dyn BufRead + 'a>> {
    const IN_BYTES: usize = 128 << 10;
    const OUT_BYTES: usize = 256 << 10;
    let part = BufReader::with_capacity(IN_BYTES, bytes.part(member.range.clone()));
    Ok(match member.packing {
        Packing::None => Box::new(part),
        Packing::Gzip => Box::new(BufReader::with_capacity(
            OUT_BYTES,
            flate2::bufread::MultiGzDecoder::new(part),
        )),
        Packing::Xz => {
            // What comes out is what was signed, since the package has the digest that was signed; a checksum on top
            // takes a tenth of the time.
            let flags = CONCATENATED | IGNORE_CHECK;
            let stream = Stream::new_stream_decoder(limits.decoder_memory_max, flags)?;
            Box::new(BufReader::with_capacity(
                OUT_BYTES,
                XzDecoder::new_stream(part, stream),
            ))
        }
    })
}
