//! Taking a person out of a text that leaves the machine.
//!
//! The report holds no secret by its making; this is the second lock. It cannot find what it was
//! not told of.

/// What must not leave.
#[derive(Default, Clone)]
pub struct Private {
    /// Folders of the person, whole.
    pub folders: Vec<String>,
    /// Names of the person on this machine.
    pub names: Vec<String>,
    /// Passwords, tokens, user names at servers.
    pub secrets: Vec<String>,
}

impl Private {
    /// `text` with `~` for a folder, `[user]` for a name that stands alone, and `[secret]` for a
    /// secret wherever it stands. Capital and small ASCII letters are the same.
    pub fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (list, with, alone) in [
            (&self.secrets, "[secret]", false),
            (&self.folders, "~", false),
            (&self.names, "[user]", true),
        ] {
            let mut needles: Vec<&String> = list.iter().filter(|one| !one.is_empty()).collect();
            // A longer one may hold a shorter one.
            needles.sort_by_key(|one| std::cmp::Reverse(one.len()));
            for needle in needles {
                text = replace(&text, needle, with, alone);
            }
        }
        text
    }
}

/// Every place of `needle`; `alone`: only where no letter, digit or underscore is beside it.
fn replace(text: &str, needle: &str, with: &str, alone: bool) -> String {
    let (lower, needle) = (text.to_ascii_lowercase(), needle.to_ascii_lowercase());
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower[at..].find(&needle) {
        let (start, end) = (at + found, at + found + needle.len());
        let part_of_word = |letter: Option<char>| {
            letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
        };
        let inside = part_of_word(text[..start].chars().next_back())
            || part_of_word(text[end..].chars().next());
        out.push_str(&text[at..start]);
        out.push_str(if alone && inside {
            &text[start..end]
        } else {
            with
        });
        at = end;
    }
    out.push_str(&text[at..]);
    out
}

/// A URL without what stands before the `@` of its authority.
pub fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn private() -> Private {
        Private {
            folders: vec!["/home/poring".into(), "C:\\Users\\Poring".into()],
            names: vec!["poring".into()],
            secrets: vec!["hunter2".into(), "turn-user".into()],
        }
    }

    #[test]
    fn folders_names_and_secrets_are_gone() {
        for (text, scrubbed) in [
            ("/home/poring/game/ro.exe", "~/game/ro.exe"),
            ("c:\\users\\poring\\ro.exe", "~\\ro.exe"),
            ("/mnt/poring/x by Poring.", "/mnt/[user]/x by [user]."),
            ("poringkingdom", "poringkingdom"),
            ("pw=hunter2;", "pw=[secret];"),
            ("xHUNTER2x", "x[secret]x"),
            ("Größe poring ß", "Größe [user] ß"),
        ] {
            assert_eq!(private().scrub(text), scrubbed);
        }
        assert_eq!(Private::default().scrub("as it is"), "as it is");
    }

    #[test]
    fn urls_lose_their_user() {
        for (url, bare) in [
            ("http://a:b@proxy:3128/", "http://proxy:3128/"),
            (
                "https://host/api/v1?mail=a@b",
                "https://host/api/v1?mail=a@b",
            ),
            ("http://a@b@host", "http://host"),
            ("stun:host:3478", "stun:host:3478"),
        ] {
            assert_eq!(without_user(url), bare);
        }
    }

    proptest! {
        #[test]
        fn no_secret_is_left_in_any_text(before in ".{0,20}", after in ".{0,20}") {
            let text = format!("{before}hunter2{after}/home/poring{before}");
            let scrubbed = private().scrub(&text).to_ascii_lowercase();
            prop_assert!(!scrubbed.contains("hunter2") && !scrubbed.contains("/home/poring"));
        }
    }
}
