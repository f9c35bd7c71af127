//! Fill a store with many images: `crowd STORE ORGANISATION/NAME:TAG IMAGES NAMES`.
#![expect(clippy::expect_used, reason = "a tool for measuring")]

use std::path::Path;

use testkit::Crowd;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, model, images, names] = arguments.as_slice() else {
        eprintln!("usage: crowd STORE ORGANISATION/NAME:TAG IMAGES NAMES");
        std::process::exit(2);
    };
    let crowd = Crowd {
        model: model.parse().expect("the model is no reference"),
        images: images.parse().expect("IMAGES is no number"),
        names: names.parse().expect("NAMES is no number"),
    };
    crowd.fill(Path::new(store));
}
