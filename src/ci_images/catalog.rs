//! Catalogs on a server: which images there are.

use url::Url;

use super::api::HttpSettings;
use super::error::ApiError;
use crate::http::{Http, Request, RetrySettings, next_page, shown};
use crate::mirror::{Listed, read_catalog};

/// Pages of a catalog that are read before it is taken to run in circles.
const PAGES: usize = 1000;

/// The names in a catalog on a server, through every page.
///
/// # Errors
/// When it cannot be read, or is no catalog.
pub async fn fetch_catalog(address: &str, settings: HttpSettings) -> Result<Vec<Listed>, ApiError> {
    let failed = |why: &str| {
        let help = "correct --catalog, or list the images in a file (`--list`): Harness's own catalog has been retired";
        ApiError::new(format!("failed to read the catalog `{}`: {why}", shown(address)), help)
    };
    let mut url = Url::parse(address).map_err(|error| failed(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(failed("it is no http or https URL"));
    }
    let http = Http::new(RetrySettings { base: settings.wait, ..RetrySettings::default() });
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let request = Request::get(url.clone()).timeout(settings.timeout);
        let reply = http.fetch(&request).await.map_err(|error| failed(&error.to_string()))?;
        let body = String::from_utf8_lossy(&reply.body);
        found.extend(read_catalog(&body, &shown(address)).map_err(|why| failed(&why))?);
        match reply.header("link").and_then(|link| next_page(link, &reply.url)) {
            None => return Ok(found),
            Some(next) if next == url => break,
            Some(next) => url = next,
        }
    }
    Err(failed("its pages do not end"))
}
