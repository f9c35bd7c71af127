//! What users and files say: lists, chat lines, names, locks.

use cooper_core::request::{parse_dependencies, parse_packages};
use cooper_core::{
    Base, DebianRequirement, Digest, ImagePattern, ImageReference, Lock, PythonRequirement, Request,
};
use cooperage::chat;

use super::{as_it_is, chain, counted};
use crate::driver::Target;

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A list of Python requirements: what is accepted is accepted again as it is shown.
pub(super) const DEPENDENCIES: Target = Target {
    name: "dependencies",
    examples: || {
        texts(&[
            "requests[socks]>=2.31,<3,pandas",
            "a==1.0; python_version in '3.11,3.13',b~=1.2",
            "x!=1.*,>2",
        ])
    },
    mend: as_it_is,
    run: |bytes| match parse_dependencies(&String::from_utf8_lossy(bytes)) {
        Ok(requirements) => {
            for one in &requirements {
                let again = one.as_str().parse::<PythonRequirement>();
                assert_eq!(again.as_ref(), Ok(one), "{one}");
            }
            format!("good {}", counted(requirements.len()))
        }
        Err(error) => error.to_string(),
    },
};

/// A list of Debian packages.
pub(super) const PACKAGES: Target = Target {
    name: "packages",
    examples: || texts(&["wget,jq=1.7-1", "g++ , libxslt1.1=1:1.0~rc1-1+b1"]),
    mend: as_it_is,
    run: |bytes| match parse_packages(&String::from_utf8_lossy(bytes)) {
        Ok(requirements) => {
            for one in &requirements {
                assert_eq!(one.to_string().parse::<DebianRequirement>().as_ref(), Ok(one));
            }
            format!("good {}", counted(requirements.len()))
        }
        Err(error) => error.to_string(),
    },
};

/// A chat line.
pub(super) const CHAT: Target = Target {
    name: "chat",
    examples: || {
        texts(&[
            "/docker_image_create name=example_name dependencies=mechanize packages=wget",
            "/docker_image_create name=\"a b\" dependencies='x==1, y' base=debian:bookworm",
            "/docker_images example* package=requests==2 sort=size",
        ])
    },
    mend: as_it_is,
    run: |bytes| match chat::parse(&String::from_utf8_lossy(bytes)) {
        Ok(command) => format!(
            "good {}",
            format!("{command:?}").split(' ').next().unwrap_or_default()
        ),
        Err(error) => format!("{} {:?}", chain(&error), error.hint().is_some()),
    },
};

/// References and patterns.
pub(super) const NAMES: Target = Target {
    name: "names",
    examples: || {
        texts(&[
            "local/example_name:1.0.0.3",
            "example_name",
            "example*",
            "debian:trixie",
        ])
    },
    mend: as_it_is,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(reference) = text.parse::<ImageReference>() {
            assert_eq!(
                reference.to_string().parse::<ImageReference>().as_ref(),
                Ok(&reference),
                "{text}"
            );
        }
        let pattern = ImagePattern::new(&text).matches(&text);
        let digest = text.parse::<Digest>().is_ok();
        let reference = text
            .parse::<ImageReference>()
            .map_or_else(|error| error.to_string(), |_| "good".to_owned());
        format!("{reference} {pattern} {digest} {}", text.parse::<Base>().is_ok())
    },
};

/// A lock file: what is accepted is the same after it was written again, and can be judged again.
pub(super) const LOCK: Target = Target {
    name: "lock",
    examples: || {
        vec![
            LOCK_EXAMPLE.as_bytes().to_vec(),
            LOCK_ON_IMAGE_EXAMPLE.as_bytes().to_vec(),
            REQUEST_EXAMPLE.as_bytes().to_vec(),
        ]
    },
    mend: as_it_is,
    run: |bytes| {
        if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
            let again = serde_json::to_vec(&request).unwrap();
            assert_eq!(serde_json::from_slice::<Request>(&again).unwrap(), request);
        }
        match serde_json::from_slice::<Lock>(bytes) {
            Ok(lock) => {
                let again = serde_json::from_slice::<Lock>(&serde_json::to_vec(&lock).unwrap()).unwrap();
                assert_eq!(again, lock);
                assert_eq!(again.content.digest(), lock.content.digest());
                let plan = lock.to_plan(|_, _| true);
                plan.map_or_else(
                    |error| chain(&error),
                    |plan| format!("good {}", plan.python.len()),
                )
            }
            Err(error) => error.to_string(),
        }
    },
};

const REQUEST_EXAMPLE: &str = include_str!("examples/request.json");
const LOCK_ON_IMAGE_EXAMPLE: &str = include_str!("examples/lock-on-image.json");
const LOCK_EXAMPLE: &str = include_str!("examples/lock.json");
