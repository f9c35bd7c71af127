//! Python: index pages, metadata, the ends of wheels.

use cooper_core::{Base, PythonName};
use cooper_resolve::python::{outside, wheel_fits};
use testkit::index::SIMPLE_JSON;
use testkit::{PythonIndex, Sdist, Wheel, ZipEntry};
use url::Url;

use super::{as_it_is, counted};
use crate::driver::Target;

/// A project's page as JSON.
pub(super) const PAGE_JSON: Target = Target {
    name: "python-page-json",
    examples: || {
        let routes = PythonIndex::new()
            .wheel(wheel())
            .wheel(wheel().tag("cp313-cp313-manylinux_2_28_x86_64").yanked("why"));
        let routes = routes
            .sdist(Sdist::new("tool", "1.1"))
            .wheel(Wheel::new("tool", "2.0rc1").requires_python("<3"))
            .routes();
        vec![routes.body("/simple/tool/").unwrap().to_vec()]
    },
    mend: as_it_is,
    run: |bytes| page(bytes, SIMPLE_JSON),
};

/// A project's page as HTML.
pub(super) const PAGE_HTML: Target = Target {
    name: "python-page-html",
    examples: || {
        let text = "<!DOCTYPE html><html><head><meta name=\"pypi:repository-version\" content=\"1.0\"><base href=\"/x/\"></head>\
            <body><!-- c --><a href=\"../../files/tool-1.0-py3-none-any.whl#sha256=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" \
            data-requires-python=\"&gt;=3.8\" data-yanked='' data-core-metadata=true>tool-1.0-py3-none-any.whl</a><br/>\n\
            <A HREF=tool-1.1.tar.gz>tool-1.1.tar.gz</A></body></html>";
        vec![text.as_bytes().to_vec()]
    },
    mend: as_it_is,
    run: |bytes| page(bytes, "text/html"),
};

/// A reduced page as the cache keeps it.
pub(super) const KEPT_PAGE: Target = Target {
    name: "python-kept-page",
    examples: || {
        let digest = cooper_core::Digest::of(b"");
        let text = format!(
            "cooper-python-page 4\n{digest}\t1970-01-01T00:00:00Z\ttrue\ttrue\n\
             1.0\twheel\ttool-1.0-py3-none-any.whl\thttp://127.0.0.1/files/\t12\t{0}\t\t1700000000\t!why\n\
             1.1\tsource\ttool-1.1.tar.gz\thttp://127.0.0.1/files/\t12\t{0}\t\t\t\n1.2\tsources\twhy\nend\n",
            digest.hex()
        );
        vec![text.into_bytes()]
    },
    mend: as_it_is,
    run: |bytes| outside::read_kept_page(bytes).to_string(),
};

/// A source distribution: its metadata, and what building it asks for.
pub(super) const SOURCE: Target = Target {
    name: "python-source",
    examples: || {
        let asks = "[build-system]\nrequires = ['setuptools>=1', 'x; python_version > \"3\"']\n";
        vec![
            Sdist::new("tool", "1.0").requires("a").build(),
            Sdist::new("tool", "1.0")
                .file("pyproject.toml", asks)
                .file("fast.c", "")
                .build(),
        ]
    },
    mend: as_it_is,
    run: |bytes| match outside::read_source(bytes, "tool-1.0.tar.gz") {
        Ok(requires) => format!("good {}", counted(requires)),
        Err(error) => error,
    },
};

/// METADATA of a wheel.
pub(super) const METADATA: Target = Target {
    name: "python-metadata",
    examples: || vec![wheel().metadata().into_bytes()],
    mend: as_it_is,
    run: |bytes| match outside::read_metadata(bytes, &name(), &"1.0".parse().unwrap()) {
        Ok((needs, stable)) => {
            assert!(stable, "kept twice, the metadata is another");
            format!("good {}", counted(needs))
        }
        Err(error) => error,
    },
};

/// The end of a wheel.
pub(super) const WHEEL_TAIL: Target = Target {
    name: "python-wheel-tail",
    examples: || {
        let stored = ZipEntry::file("tool-1.0.dist-info/METADATA", wheel().metadata()).stored();
        vec![
            wheel().build(),
            testkit::zip::write_zip(&[stored]),
            wheel().file("big", vec![1; 60_000]).build(),
        ]
    },
    mend: as_it_is,
    run: |bytes| match outside::read_wheel_tail(bytes, &name()) {
        Ok(metadata) => {
            assert!(metadata.len() <= 16 << 20);
            "good".to_owned()
        }
        Err(error) => error,
    },
};

/// A wheel's file name.
pub(super) const WHEEL_NAME: Target = Target {
    name: "python-wheel-name",
    examples: || {
        [
            "tool-1.0-py3-none-any.whl",
            "tool-1.0-1-cp313-cp313-manylinux_2_28_x86_64.manylinux2014_x86_64.whl",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        Base::ALL
            .map(|base| wheel_fits(&text, base))
            .map(|fits| fits.to_string())
            .join(" ")
    },
};

fn page(bytes: &[u8], content_type: &str) -> String {
    let url = Url::parse("http://127.0.0.1/simple/tool/").unwrap();
    match outside::read_page(bytes, Some(content_type), &url, &name()) {
        Ok(page) => {
            assert!(page.survives_the_cache, "the kept page says something else");
            format!("good {}", counted(page.releases))
        }
        Err(error) => error,
    }
}

fn name() -> PythonName {
    "tool".parse().unwrap()
}

fn wheel() -> Wheel {
    Wheel::new("tool", "1.0")
        .package("tool", "")
        .requires("requests[socks]>=2.31,<3 ; python_version >= '3.8'")
        .requires("other (==1.*)")
        .extra("fast", "cython ; sys_platform == 'linux'")
        .requires_python(">=3.8")
}
