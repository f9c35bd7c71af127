//! One test for each target.
#![expect(
    clippy::print_stderr,
    clippy::panic,
    reason = "a test says what it saw, and fails by panicking"
)]

use fuzz::targets::TARGETS;

/// Run one target; its examples must reach at least one good and one bad ending, or it tries nothing.
fn try_target(name: &str) {
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("no target {name}"));
    let report = fuzz::fuzz(target);
    eprintln!(
        "{name}: {} inputs, {} endings",
        report.inputs,
        report.endings.len()
    );
    assert!(
        report.endings.len() > 1,
        "{name} always ends the same way: {:?}",
        report.endings
    );
}

macro_rules! targets {
    ($($function:ident $name:literal,)*) => {
        $(
            #[test]
            fn $function() {
                try_target($name);
            }
        )*

        #[test]
        fn every_target_has_its_test() {
            let tested = [$($name),*];
            let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(known, tested);
        }
    };
}

targets! {
    debian_stanza "debian-stanza",
    debian_relations "debian-relations",
    debian_version "debian-version",
    debian_in_release "debian-in-release",
    debian_release "debian-release",
    debian_index "debian-index",
    debian_compact_index "debian-compact-index",
    debian_compressed_index "debian-compressed-index",
    debian_keyring "debian-keyring",
    debian_tar "debian-tar",
    debian_control "debian-control",
    debian_lists "debian-lists",
    debian_package "debian-package",
    image_archive "image-archive",
    layer_tar "layer-tar",
    python_page_json "python-page-json",
    python_page_html "python-page-html",
    python_kept_page "python-kept-page",
    python_source "python-source",
    python_metadata "python-metadata",
    python_wheel_tail "python-wheel-tail",
    python_wheel_name "python-wheel-name",
    elf "elf",
    wheel "wheel",
    wheel_record "wheel-record",
    wheel_texts "wheel-texts",
    dependencies "dependencies",
    packages "packages",
    chat "chat",
    lock "lock",
    names "names",
    requirements "requirements",
    terminal "terminal",
    allow_list "allow-list",
    dns_query "dns-query",
    licence_expression "licence-expression",
    licence_metadata "licence-metadata",
    licence_text "licence-text",
    copyright_file "copyright-file",
    osv_record "osv-record",
    advisory_snapshot "advisory-snapshot",
    vex "vex",
    epss "epss",
    known_exploited "known-exploited",
    cvss "cvss",
    policy "policy",
    sbom "sbom",
    evidence_file "evidence-file",
    ledger "ledger",
    popular_names "popular-names",
    compiled_names "compiled-names",
    distribution_name "distribution-name",
}
