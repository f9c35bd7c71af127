//! Many runs at once.

use std::path::PathBuf;

use cooper_sandbox::{End, InjectedFile, Stdin};

use crate::bed::{Bed, cgroups_of};

#[test]
fn eight_threads_run_at_once_and_each_has_its_own() {
    let bed = Bed::new();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let bed = &bed;
            scope.spawn(move || {
                for round in 0..4_u8 {
                    let word = format!("{thread}.{round}");
                    let status = thread * 4 + round;
                    let mut run = bed.shell(&format!(
                        "cat /run/cooper/word; cat; echo {word} >/work/f; cat /work/*; exit {status}"
                    ));
                    run.stdin = Stdin::Bytes(format!("in {word}\n").into_bytes());
                    run.files = vec![InjectedFile {
                        path: "/run/cooper/word".into(),
                        bytes: format!("{word}\n").into_bytes(),
                        mode: 0o444,
                    }];
                    let outcome = run.outcome();
                    assert_eq!(outcome.end, End::Exited(status));
                    assert_eq!(
                        String::from_utf8_lossy(&outcome.stdout),
                        format!("{word}\nin {word}\n{word}\n")
                    );
                }
            });
        }
    });
    assert_eq!(cgroups_of(std::process::id()), Vec::<PathBuf>::new());
}
