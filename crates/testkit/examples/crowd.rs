//! Fill a store with many images: `crowd STORE ORGANISATION/NAME:TAG IMAGES NAMES`.

use std::path::Path;
use std::process::ExitCode;

use testkit::Crowd;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(store), Some(crowd)) = (arguments.first(), crowd(&arguments)) else {
        use std::io::Write as _;
        let usage = "usage: crowd STORE ORGANISATION/NAME:TAG IMAGES NAMES";
        // Nobody is left to be told when this fails.
        let _ = writeln!(std::io::stderr(), "{usage}");
        return ExitCode::from(2);
    };
    crowd.fill(Path::new(store));
    ExitCode::SUCCESS
}

fn crowd(arguments: &[String]) -> Option<Crowd> {
    let [_, model, images, names] = arguments else {
        return None;
    };
    Some(Crowd {
        model: model.parse().ok()?,
        images: images.parse().ok()?,
        names: names.parse().ok()?,
    })
}
