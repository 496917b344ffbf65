//! The news of the server whose profile was opened.

use std::sync::{Mutex, PoisonError};

use tauri::{AppHandle, Manager as _, Runtime};
use warp_engine::NewsEntry;
use warp_protocol::{Problem, ProblemCode};

use crate::{house::House, profile, settings};

/// Where the person may be sent from here: the page says which, and no other address is opened.
#[derive(Default)]
pub(crate) struct Links(Mutex<Vec<String>>);

impl Links {
    fn set(&self, links: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = links;
    }

    fn has(&self, link: &str) -> bool {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().any(|known| known == link)
    }
}

/// The news; none where the server has none, or none that can be read here. They are nothing to wait
/// for, so that a fault is logged and no more.
#[tauri::command]
pub(crate) async fn news<R: Runtime>(app: AppHandle<R>) -> Vec<NewsEntry> {
    let config = app.state::<House>().places().config;
    let Some(url) = profile::news_url(config.as_deref()) else {
        app.state::<Links>().set(Vec::new());
        return Vec::new();
    };
    let http = settings::load(config.as_deref())
        .and_then(|settings| warp_engine::coordinator_http(&settings.config));
    let read = match http {
        Ok((_, http)) => warp_engine::news(&http, &url).await,
        Err(problem) => Err(problem.to_string()),
    };
    let entries = read.unwrap_or_else(|why| {
        tracing::warn!(url, why, "the server's news cannot be read");
        Vec::new()
    });
    let links = entries.iter().filter_map(|entry| entry.link.clone());
    app.state::<Links>().set(links.chain([url]).collect());
    entries
}

/// Opens the page of the news, or the link of one of them, in the person's browser.
///
/// # Errors
/// `bad-command`: the link is none of the news', or there is no browser.
#[tauri::command]
pub(crate) async fn open_news<R: Runtime>(app: AppHandle<R>, link: String) -> Result<(), Problem> {
    if !app.state::<Links>().has(&link) {
        return Err(Problem::new(ProblemCode::BadCommand, "open_news")
            .with_detail("this link is none of the server's news"));
    }
    // The program that looks for a browser may wait for it.
    let opened = tokio::task::spawn_blocking(move || open::that_detached(link)).await;
    let fault = match opened {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(Problem::new(ProblemCode::BadCommand, "open_news").with_detail(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_of_the_news_are_opened() {
        let links = Links::default();
        assert!(!links.has(""));
        links.set(vec!["https://play.example/woe".into()]);
        assert!(links.has("https://play.example/woe"));
        assert!(!links.has("https://play.example/woe2"));
        links.set(Vec::new());
        assert!(!links.has("https://play.example/woe"));
    }
}
