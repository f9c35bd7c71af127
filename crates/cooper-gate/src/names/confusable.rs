//! What a text with foreign characters looks like in ASCII.
//!
//! A choice of what Unicode's UTS 39 lists: the scripts that have been used for disguise, and whatever is
//! a Latin letter with something on it. Characters that show nothing are left out.

/// How the text looks in lower-case ASCII; characters that look like nothing in ASCII stay.
pub(super) fn looks(text: &str) -> String {
    let mut looks = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if character.is_ascii() => looks.push(character.to_ascii_lowercase()),
            _ if is_invisible(character) => {}
            _ => match pair(character) {
                Some(letters) => looks.push_str(letters),
                None => looks.push(one(character).unwrap_or(character)),
            },
        }
    }
    looks
}

/// Characters that take no room, or are drawn over others.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Characters that look like several.
const fn pair(character: char) -> Option<&'static str> {
    Some(match character {
        'æ' | 'Æ' | 'ӕ' | 'Ӕ' => "ae",
        'œ' | 'Œ' => "oe",
        'ß' => "ss",
        'ĳ' | 'Ĳ' => "ij",
        'ǆ' | 'ǅ' | 'Ǆ' | 'ǳ' | 'ǲ' | 'Ǳ' => "dz",
        'ǉ' | 'ǈ' | 'Ǉ' => "lj",
        'ǌ' | 'ǋ' | 'Ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        'þ' | 'Þ' => "p",
        _ => return None,
    })
}

/// The rows of characters that look like one of ASCII.
const ROWS: &[(char, &str)] = &[
    ('a', "аɑαάàáâãäåāăąǎǟǡǻȁȃȧḁẚạảấầẩẫậắằẳẵặАΑÀÁÂÃÄÅĀĂĄǍȀȂȦẠẢＡᴀꓮⱥ∂"),
    ('b', "ЬʙβƀƄɓḃḅḇВΒḂḄḆᏴƅЪꓐв"),
    ('c', "сϲçćĉċčƈȼḉСϹÇĆĈĊČḈⅽᴄⲥꓚʗ¢ↄ"),
    ('d', "ԁďđɖɗḋḍḏḑḓĎĐḊḌḎḐḒⅾᏧꓒð"),
    ('e', "еҽєέèéêëēĕėęěȅȇȩḕḗḙḛḝẹẻẽếềểễệЕΕÈÉÊËĒĔĖĘĚȄȆẸẺẼᴇ℮ⅇεꓰɇ"),
    ('f', "ƒḟϝꬵſẝḞꓝʄ"),
    ('g', "ɡĝğġģǥǧǵɠḡցĜĞĠĢǤǦǴḠɢԌꓖ"),
    ('h', "һհĥħḣḥḧḩḫẖНΗĤĦḢḤḦʜɦꓧнђ"),
    ('i', "іιίϊɩìíîïĩīĭįıǐȉȋḭḯỉịІΙÌÍÎÏĨĪĬĮİǏȈȊⅰɪӏ¡ꙇ"),
    ('j', "јϳĵǰɉЈĴᴊʝꓙ"),
    ('k', "кκķƙǩḱḳḵКΚĶǨḰḲḴᴋꓗⱪ"),
    ('l', "ⅼłĺļľŀƚȴɫḷḹḻḽŁĹĻĽĿḶḸḺʟӀǀ∣ꓡ"),
    ('m', "мṃṁḿⅿМΜṀṂḾᴍꓟɱ"),
    ('n', "ոпռñńņňŉŋǹȠṅṇṉṋÑŃŅŇŊṄṆṈɴΝηήꓠɲ"),
    (
        'o',
        "оοόσөòóôõöøōŏőơǒǫǭȍȏȫȭȯȱṍṏṑṓọỏốồổỗộớờởỡợОΟÒÓÔÕÖØŌŎŐƠǑǪỌỎᴏօ০੦ⲟꓳ°ⵔ",
    ),
    ('p', "рρƥṕṗРΡṔṖᴘⲣꓑ"),
    ('q', "ԛգզʠɋ"),
    ('r', "гŕŗřȑȓṙṛṝṟɍɼʀŔŖŘȐȒṘṚᴦꓣ"),
    ('s', "ѕśŝşšșṡṣṥṧṩЅŚŜŞŠȘṠṢꜱꓢʂ"),
    ('t', "тţťŧțṫṭṯṱẗТΤŢŤŦȚṪṬᴛꓔτ†"),
    ('u', "υύυцսùúûüũūŭůűųưǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữựÙÚÛÜŨŪŬŮŰŲƯǓỤỦᴜμʊꓴ"),
    ('v', "νѵṽṿⅴѴṼṾᴠⱱꓦ∨"),
    ('w', "ѡԝաŵẁẃẅẇẉẘŴẀẂẄẆẈᴡωшꓪɯ"),
    ('x', "хχẋẍⅹХΧẊẌ×ꓫ᙭"),
    ('y', "уүγýÿŷȳẏẙỳỵỷỹУΥÝŶŸȲẎỲỴʏᶌꓬɣ"),
    ('z', "ʐźżžƶẑẓẕΖŹŻŽẐẒẔᴢꓜ"),
    ('0', "૦〇"),
    ('1', "١۱"),
    ('3', "зЗӡƷʒ"),
    ('4', "Ꮞч"),
    ('6', "бᏮ"),
    ('8', "৪Ȣȣ"),
    ('-', "‐‑‒–—―−﹘﹣ー⁃"),
    ('.', "․。۔·"),
    ('_', "ˍ﹍﹎﹏"),
];

fn one(character: char) -> Option<char> {
    styled(character).or_else(|| {
        let row = ROWS.iter().find(|(_, row)| row.contains(character));
        row.map(|(letter, _)| *letter)
    })
}

/// Letters and digits that Unicode has again in another style: wide, circled, raised, and for mathematics.
fn styled(character: char) -> Option<char> {
    let code = u32::from(character);
    let letter = |place: u32| char::from_u32(u32::from('a') + place % 26);
    let digit = |place: u32| char::from_u32(u32::from('0') + place % 10);
    match code {
        0xff01..=0xff5e => char::from_u32(code - 0xfee0).map(|wide| wide.to_ascii_lowercase()),
        0x1d400..=0x1d6a3 => letter(code - 0x1d400),
        0x1d7ce..=0x1d7ff => digit(code - 0x1d7ce),
        0x24b6..=0x24e9 => letter(code - 0x24b6),
        0x1f130..=0x1f149 => letter(code - 0x1f130),
        0x1f150..=0x1f169 => letter(code - 0x1f150),
        0x1f170..=0x1f189 => letter(code - 0x1f170),
        0x249c..=0x24b5 => letter(code - 0x249c),
        0x2460..=0x2468 => digit(code - 0x245f),
        0x2080..=0x2089 => digit(code - 0x2080),
        0x2074..=0x2079 => digit(code - 0x2070),
        0xb2 => Some('2'),
        0xb3 => Some('3'),
        0xb9 => Some('1'),
        _ => None,
    }
}

/// A spelling in which ASCII characters that look alike are the same.
pub(super) fn folded(compact: &str) -> String {
    let mut folded = String::with_capacity(compact.len());
    let mut characters = compact.chars().peekable();
    while let Some(character) = characters.next() {
        let together = match (character, characters.peek()) {
            ('r' | 'n', Some('n')) => Some('m'),
            ('v', Some('v')) => Some('w'),
            ('c', Some('l' | 'i' | '1')) => Some('d'),
            ('i', Some('i')) => Some('u'),
            _ => None,
        };
        if together.is_some() {
            characters.next();
        }
        folded.push(together.unwrap_or(match character {
            '0' => 'o',
            '1' | 'i' => 'l',
            _ => character,
        }));
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_characters_look_like_ascii() {
        for (text, expected) in [
            ("r\u{435}qu\u{435}sts", "requests"),
            ("\u{ff4e}\u{ff55}\u{ff4d}\u{ff50}\u{ff59}", "numpy"),
            ("\u{1d459}\u{1d465}\u{1d45a}\u{1d459}", "lxml"),
            ("p\u{e1}nd\u{200b}as", "pandas"),
            ("\u{fb02}ask", "flask"),
            ("charset\u{2010}normalizer", "charset-normalizer"),
            ("\u{6f22}", "\u{6f22}"),
        ] {
            assert_eq!(looks(text), expected);
        }
    }

    #[test]
    fn the_rows_have_no_ascii_and_nothing_invisible() {
        for (letter, row) in ROWS {
            for character in row.chars() {
                assert!(
                    !character.is_ascii() && !is_invisible(character),
                    "{letter}: {character}"
                );
            }
        }
    }

    #[test]
    fn what_small_type_does_not_tell_apart_is_the_same() {
        assert_eq!(folded("sirnp1e"), folded("simple"));
        assert_eq!(folded("jeilyfish"), folded("jellyfish"));
    }
}
