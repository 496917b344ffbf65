//! The news of a server, from where its profile says they are.
//!
//! Read is a [JSON Feed](https://www.jsonfeed.org/version/1.1/). What it says is shown as plain text:
//! of an entry with markup only, the title is taken.

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Longest feed that is read, bytes.
const MAX_FEED: usize = 256 * 1024;
/// Longest wait for it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// So many entries are shown, the first of the feed.
const MAX_ENTRIES: usize = 5;
/// Longest title and text, characters; what is longer is cut.
const MAX_TITLE: usize = 120;
const MAX_TEXT: usize = 400;

/// One entry of a server's news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewsEntry {
    /// One line, not empty.
    pub title: String,
    /// Plain text; may be empty.
    pub text: String,
    /// Day of publication, `YYYY-MM-DD`.
    pub date: Option<String>,
    /// Where it can be read in full, on the host of the feed.
    pub link: Option<String>,
}

#[derive(Deserialize)]
struct Feed {
    version: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    content_text: Option<String>,
    #[serde(default)]
    date_published: Option<String>,
    #[serde(default)]
    url: Option<String>,
}

/// Asks for the news at `url`. Empty where there is a page for people and no feed.
///
/// # Errors
/// Why they could not be read, in a few words for the log.
pub async fn news(http: &reqwest::Client, url: &str) -> Result<Vec<NewsEntry>, String> {
    let address = Url::parse(url).map_err(|error| error.to_string())?;
    let request = http.get(address.clone()).timeout(TIMEOUT);
    let request = request.header("accept", "application/feed+json, application/json");
    let response = request.send().await.map_err(|error| error.to_string())?;
    let mut response = response
        .error_for_status()
        .map_err(|error| error.to_string())?;
    let kind = response.headers().get("content-type").cloned();
    let json = kind.is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
    if !json {
        return Ok(Vec::new());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.to_string())? {
        if body.len() + chunk.len() > MAX_FEED {
            return Err(format!("the feed is longer than {MAX_FEED} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    entries(&body, &address)
}

fn entries(body: &[u8], address: &Url) -> Result<Vec<NewsEntry>, String> {
    let feed: Feed = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if !feed.version.starts_with("https://jsonfeed.org/version/1") {
        return Err(format!("version {:?} is no JSON Feed's", feed.version));
    }
    let entry = |item: Item| {
        let title = plain(item.title.as_deref().unwrap_or_default(), MAX_TITLE);
        let text = item.summary.or(item.content_text).unwrap_or_default();
        let mut text = plain(&text, MAX_TEXT);
        let title = if title.is_empty() {
            // Short notes have no title.
            std::mem::take(&mut text)
        } else {
            title
        };
        (!title.is_empty()).then(|| NewsEntry {
            title,
            text,
            date: item.date_published.as_deref().and_then(day),
            link: item.url.and_then(|link| same_host(&link, address)),
        })
    };
    Ok(feed
        .items
        .into_iter()
        .filter_map(entry)
        .take(MAX_ENTRIES)
        .collect())
}

/// One line without control characters, cut at `most` characters.
fn plain(text: &str, most: usize) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let cut: String = line.chars().take(most - 1).collect();
    format!("{}…", cut.trim_end())
}

/// The day of an RFC 3339 date.
fn day(date: &str) -> Option<String> {
    let day = date.get(..10)?;
    let shape = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    day.bytes().enumerate().all(shape).then(|| day.to_owned())
}

/// The link, if it leads to the host of the feed: a feed that was taken over sends nobody elsewhere.
fn same_host(link: &str, address: &Url) -> Option<String> {
    let link = address.join(link).ok()?;
    let same = link.scheme() == address.scheme() && link.host() == address.host();
    (same && link.username().is_empty()).then(|| link.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn read(feed: &serde_json::Value) -> Result<Vec<NewsEntry>, String> {
        let address = Url::parse("https://play.example/news.json").unwrap();
        entries(feed.to_string().as_bytes(), &address)
    }

    fn feed(items: &serde_json::Value) -> serde_json::Value {
        json!({ "version": "https://jsonfeed.org/version/1.1", "title": "News", "items": items })
    }

    #[test]
    fn entries_are_plain_short_and_lead_nowhere_else() {
        let long = "word ".repeat(300);
        let items = json!([
            { "id": "1", "title": "War\u{7} of\nEmperium", "content_text": long, "url": "/woe",
              "date_published": "2026-11-20T18:00:00Z" },
            { "id": "2", "content_text": "Only a note", "url": "https://evil.example/x" },
            { "id": "3", "title": "Shown <b>as it is</b>", "content_html": "<script>", "date_published": "soon" },
            { "id": "4" },
        ]);
        let news = read(&feed(&items)).unwrap();
        assert_eq!(news.len(), 3);
        assert_eq!(news[0].title, "War of Emperium");
        assert_eq!(news[0].date.as_deref(), Some("2026-11-20"));
        assert_eq!(news[0].link.as_deref(), Some("https://play.example/woe"));
        assert!(news[0].text.chars().count() <= MAX_TEXT && news[0].text.ends_with('…'));
        assert_eq!(
            (news[1].title.as_str(), news[1].text.as_str()),
            ("Only a note", "")
        );
        assert_eq!(news[1].link, None);
        assert_eq!(news[2].title, "Shown <b>as it is</b>");
        assert_eq!((news[2].text.as_str(), &news[2].date), ("", &None));
        let many: Vec<_> = (0..50).map(|n| json!({ "title": n.to_string() })).collect();
        assert_eq!(read(&feed(&json!(many))).unwrap().len(), MAX_ENTRIES);
    }

    #[test]
    fn what_is_no_feed_is_said_to_be_none() {
        assert!(
            read(&json!({ "version": "2", "items": [] }))
                .unwrap_err()
                .contains("JSON Feed")
        );
        assert!(
            read(&json!({ "items": [] }))
                .unwrap_err()
                .contains("version")
        );
        assert!(read(&json!([1])).is_err());
    }

    /// One answer to one question, whatever is asked.
    async fn answering(answer: String) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/news", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = [0; 2048];
            let _ = socket.read(&mut asked).await.unwrap();
            // Whoever has read enough hangs up.
            let _ = socket.write_all(answer.as_bytes()).await;
        });
        url
    }

    fn http() -> reqwest::Client {
        let config = warp_engine_core::config::Config::default();
        crate::coordinator_http(&config).unwrap().1
    }

    fn answer(kind: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    }

    #[tokio::test]
    async fn a_feed_is_read_a_page_is_none_and_too_much_is_refused() {
        let body = feed(&json!([{ "title": "Hello" }])).to_string();
        let url = answering(answer("application/feed+json", &body)).await;
        assert_eq!(news(&http(), &url).await.unwrap()[0].title, "Hello");
        let url = answering(answer("text/html", "<h1>News</h1>")).await;
        assert_eq!(news(&http(), &url).await.unwrap(), []);
        let url = answering(answer("application/json", &" ".repeat(MAX_FEED + 1))).await;
        assert!(news(&http(), &url).await.unwrap_err().contains("longer"));
        let url = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into()).await;
        assert!(news(&http(), &url).await.unwrap_err().contains("404"));
    }
}
