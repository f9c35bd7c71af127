//! What packages say about their licences: expressions, metadata, licence files, copyright files.

use cooper_gate::licences::{
    DebianLicenceEvidence, LicenceAnswer, LicenceExpression, LicenceFile, LicenceRules,
    PythonLicenceEvidence, judge, of_debian, of_python,
};

use super::{as_it_is, counted};
use crate::driver::Target;

const MIT: &str = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and \
    associated documentation files (the \"Software\"), to deal in the Software without restriction, including without \
    limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the \
    Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions: The \
    above copyright notice and this permission notice shall be included in all copies or substantial portions of the \
    Software. THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT \
    LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL \
    THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF \
    CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN \
    THE SOFTWARE.\n";

const GRANT: &str = "This program is free software; you can redistribute it and/or modify it under the terms of the GNU \
    General Public License as published by the Free Software Foundation; either version 2 of the License, or (at your \
    option) any later version.\n";

fn bytes_of(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A licence expression: what is accepted is the same when it is printed and read again.
pub(super) const EXPRESSION: Target = Target {
    name: "licence-expression",
    examples: || {
        bytes_of(&[
            "MIT OR (Apache-2.0 WITH LLVM-exception AND BSD-3-Clause)",
            "gpl-2+ or LGPL-2.1+ with classpath-exception",
            "LicenseRef-Ours AND DocumentRef-x:LicenseRef-y",
            "mit/apache-2.0 & (ISC | Zlib)",
            "((((MIT))))",
        ])
    },
    mend: as_it_is,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match LicenceExpression::parse(&text) {
            Ok(expression) => {
                let shown = expression.to_string();
                assert_eq!(
                    LicenceExpression::parse(&shown).as_ref(),
                    Ok(&expression),
                    "{shown}"
                );
                assert_eq!(LicenceExpression::parse(&shown).unwrap().to_string(), shown);
                format!("good {}", counted(expression.terms().len()))
            }
            Err(error) => error.to_string(),
        }
    },
};

/// The fields of metadata, one a line: expression, free text, classifiers.
pub(super) const METADATA: Target = Target {
    name: "licence-metadata",
    examples: || {
        bytes_of(&[
            "MIT OR Apache-2.0\nApache License, Version 2.0 (ASL 2.0)\nLicense :: OSI Approved :: Apache Software License",
            "\nBSD\nLicense :: OSI Approved :: BSD License\nLicense :: Other/Proprietary License",
            "\nGNU Lesser General Public License v2 or later (LGPLv2+)",
            "\nApache 2.0 or BSD 3-Clause, MIT / PSF",
            "\nUNKNOWN",
        ])
    },
    mend: as_it_is,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split('\n').map(str::to_owned);
        let answer = of_python(&PythonLicenceEvidence {
            expression: lines.next(),
            free_text: lines.next(),
            classifiers: lines.collect(),
            files: Vec::new(),
        });
        checked(&answer)
    },
};

/// A licence file.
pub(super) const TEXT: Target = Target {
    name: "licence-text",
    examples: || {
        let utf16: Vec<u8> = MIT.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut examples = bytes_of(&[
            MIT,
            GRANT,
            &format!("Copyright (c) 2020 X\n{MIT}\n{GRANT}"),
            "SPDX-License-Identifier: BSD-3-Clause\nor at your choice the ISC license",
            "See /usr/share/common-licenses/GPL-2 and LICENSED LIMITED DISCLAIMER",
        ]);
        examples.push(utf16);
        examples
    },
    mend: as_it_is,
    run: |bytes| {
        let answer = of_python(&PythonLicenceEvidence {
            files: vec![file(bytes)],
            ..PythonLicenceEvidence::default()
        });
        checked(&answer)
    },
};

/// A Debian copyright file.
pub(super) const COPYRIGHT: Target = Target {
    name: "copyright-file",
    examples: || {
        let format = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n\n";
        bytes_of(&[
            &format!(
                "{format}Files: *\nCopyright: x\nLicense: GPL-2+ or Artistic, and Expat\n\nFiles: debian/*\nLicense: ISC\n"
            ),
            &format!(
                "{format}Files: a/* b/*\nLicense: ours\n {MIT}\n\nFiles:\n *\nLicense: BSD\n\nLicense: BSD\n {GRANT}\n"
            ),
            &format!("{format}Files: *\nLicense: GPL-3+ with Autoconf exception | Zlib\n"),
            &format!("This package was debianized by X.\n\n{GRANT}\n\nThe Debian packaging is (C) X, {MIT}"),
        ])
    },
    mend: as_it_is,
    run: |bytes| {
        checked(&of_debian(&DebianLicenceEvidence {
            copyright: Some(file(bytes)),
        }))
    },
};

fn file(bytes: &[u8]) -> LicenceFile {
    LicenceFile {
        path: "LICENSE".to_owned(),
        bytes: bytes.to_vec(),
        size: bytes.len() as u64,
    }
}

/// An answer names its source, is short, stays the same when it is kept, and can be judged.
fn checked(answer: &LicenceAnswer) -> String {
    assert_eq!(answer.expression.is_some(), answer.source.is_some());
    for statement in &answer.statements {
        assert!(statement.said.len() < 1_000 && !statement.said.contains('\n'));
    }
    let kept = serde_json::to_string(answer).unwrap();
    assert_eq!(
        &serde_json::from_str::<LicenceAnswer>(&kept).unwrap(),
        answer,
        "{kept}"
    );
    let judgements = [LicenceRules::python(), LicenceRules::os()].map(|rules| judge(answer, &rules));
    let codes = judgements.map(|judgement| {
        judgement
            .code
            .map_or("pass", cooper_gate::licences::LicenceCode::as_str)
    });
    let terms = answer
        .expression
        .as_ref()
        .map_or(0, |expression| expression.terms().len());
    format!(
        "{} {} {}",
        answer.sureness.as_str(),
        codes.join(" "),
        counted(terms)
    )
}
