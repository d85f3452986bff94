//! An object store that speaks Amazon's S3.

use std::{fmt, time::Duration};

use bytes::Bytes;
use matrix_podman_core::backup::{S3Place, Terms};
use rustic_core::{BytesList, jiff::Timestamp};
use rusty_s3::{
    Bucket, Credentials, S3Action, UrlStyle,
    actions::{ListObjectsV2, ListObjectsV2Response},
};

use super::{Item, Name, Store, StoreTraffic, Trouble, credentials, http};
use crate::failure::Failure;

/// How long a signed address is good for. It is used at once.
const SIGNED: Duration = Duration::from_secs(30 * 60);

/// A part of a bucket.
pub(super) struct S3 {
    bucket: Bucket,
    keys: Credentials,
    prefix: String,
    shown: String,
    client: http::Client,
    traffic: StoreTraffic,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl S3 {
    pub(super) fn new(place: &S3Place, terms: &Terms, traffic: &StoreTraffic) -> Result<Self, Failure> {
        let keys = credentials::find(terms)?;
        let doing = || format!("use the object store {}", place.endpoint());
        let style = if place.is_amazons() { UrlStyle::VirtualHost } else { UrlStyle::Path };
        let endpoint = place.endpoint().parse().map_err(|_| Failure::new(doing(), "it is no address"))?;
        let bucket = Bucket::new(endpoint, style, place.bucket().to_owned(), credentials::region(terms))
            .map_err(|e| Failure::new(doing(), e))?;
        let prefix = match place.prefix() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let shown = format!("{} at {}", place.bucket(), place.endpoint());
        Ok(Self {
            bucket,
            keys,
            prefix,
            shown,
            client: http::Client::new(&traffic.limits),
            traffic: traffic.clone(),
        })
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// A request, again while what is in its way may pass; `None` where there is nothing.
    fn send(
        &self,
        method: &str,
        headers: &[(&str, String)],
        body: Option<&BytesList>,
        sign: &dyn Fn() -> String,
        what: &str,
    ) -> Result<Option<http::Answer>, Failure> {
        let doing = || format!("{what} in the bucket {}", self.shown);
        self.traffic.again(|| {
            let answer = http::send(&self.client, method, &sign(), headers, body, &doing)?;
            match answer.status {
                200..=299 => Ok(Some(answer)),
                404 if !http::said(&answer).contains("NoSuchBucket") => Ok(None),
                status => Err(refused(doing(), status, &answer)),
            }
        })
    }

    fn all(&self, folder: &str, most: Option<usize>) -> Result<Vec<Item>, Failure> {
        let prefix = self.key(folder);
        let what = if folder.is_empty() { "list what is".to_owned() } else { format!("list {folder}") };
        let (mut items, mut token) = (Vec::new(), None::<String>);
        loop {
            let sign = || {
                let mut action = self.bucket.list_objects_v2(Some(&self.keys));
                action.with_prefix(prefix.as_str());
                if let Some(token) = &token {
                    action.with_continuation_token(token.as_str());
                }
                if let Some(most) = most {
                    action.with_max_keys(most);
                }
                action.sign(SIGNED).to_string()
            };
            // A list of nothing is a list, too; taken for one, a 404 would make a repository seem empty.
            let answer = self.send("GET", &[], None, &sign, &what)?.ok_or_else(|| {
                Failure::new(format!("{what} in the bucket {}", self.shown), "the store answers 404")
                    .hint("make the bucket first, or name another one")
            })?;
            let page = parse(&answer.body).map_err(|why| {
                Failure::new(
                    format!("{what} in the bucket {}", self.shown),
                    format!("its answer is no list: {why}"),
                )
            })?;
            items.extend(page.contents.into_iter().map(|object| Item {
                name: object.key.rsplit('/').next().unwrap_or_default().to_owned(),
                size: object.size.unwrap_or_default(),
                written: object.last_modified.and_then(|at| at.parse::<Timestamp>().ok()).map(Into::into),
            }));
            token = page.next_continuation_token;
            if token.is_none() || most.is_some_and(|most| items.len() >= most) {
                return Ok(items);
            }
        }
    }
}

/// How a list begins, with the name space that Amazon's has.
const LIST: &str = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";

fn parse(body: &[u8]) -> Result<ListObjectsV2Response, String> {
    let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
    // Stores that are not Amazon's say another name space, or none.
    let inner = text.split_once("<ListBucketResult").and_then(|(_, rest)| rest.split_once('>'));
    let (head, rest) = inner.ok_or("there is no ListBucketResult in it")?;
    let text = match head.ends_with('/') {
        true => format!("{LIST}</ListBucketResult>"),
        false => format!("{LIST}{rest}"),
    };
    ListObjectsV2::parse_response(&text).map_err(|e| e.to_string())
}

/// What a store means that does not do what it is asked.
fn refused(doing: String, status: u16, answer: &http::Answer) -> Trouble {
    let said = http::said(answer);
    let failure = Failure::new(doing, format!("the store answers {status}{said}"));
    Trouble::from(match status {
        301 | 307 => failure.hint("the bucket is in another region: set backup.s3_region"),
        404 => failure.hint("make the bucket first, or name another one"),
        401 | 403 => failure.hint(
            "are the keys right, and may they list, read, write and delete there? see backup.s3_credentials",
        ),
        _ => failure,
    })
}

impl Store for S3 {
    fn prepare(&self) -> Result<(), Failure> {
        if self.all("", Some(1))?.is_empty() || !self.all("keys/", Some(1))?.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            format!("make a repository in the bucket {}", self.shown),
            "there is something else in it",
        )
        .hint("name a folder in it: s3:https://HOST/BUCKET/FOLDER"))
    }

    fn list(&self, folder: &'static str) -> Result<Vec<Item>, Failure> {
        self.all(&format!("{folder}/"), None)
    }

    fn look(&self, name: &Name) -> Result<Option<Item>, Failure> {
        let key = self.key(&name.path());
        let found = self.all(&name.path(), Some(1))?;
        let wanted = key.rsplit('/').next().unwrap_or_default();
        Ok(found.into_iter().find(|item| item.name == wanted))
    }

    fn read(&self, name: &Name, part: Option<(u32, u32)>) -> Result<Bytes, Failure> {
        let key = self.key(&name.path());
        let what = format!("read {}", name.path());
        let headers = match part {
            Some((offset, length)) => {
                vec![("range", format!("bytes={offset}-{}", u64::from(offset) + u64::from(length) - 1))]
            }
            None => Vec::new(),
        };
        let sign = || self.bucket.get_object(Some(&self.keys), &key).sign(SIGNED).to_string();
        let doing = || format!("{what} in the bucket {}", self.shown);
        let answer = self
            .send("GET", &headers, None, &sign, &what)?
            .ok_or_else(|| Failure::new(doing(), "it is not there"))?;
        exactly(answer, part)
            .ok_or_else(|| Failure::new(doing(), "the store sent something else than was asked for"))
    }

    fn write(&self, name: &Name, content: &BytesList) -> Result<(), Failure> {
        let key = self.key(&name.path());
        let sign = || self.bucket.put_object(Some(&self.keys), &key).sign(SIGNED).to_string();
        let what = format!("write {}", name.path());
        // A store has an object when it has all of it.
        match self.send("PUT", &[], Some(content), &sign, &what)? {
            Some(_) => Ok(()),
            None => {
                Err(Failure::new(format!("{what} in the bucket {}", self.shown), "the store answers 404"))
            }
        }
    }

    fn remove(&self, name: &Name) -> Result<(), Failure> {
        let key = self.key(&name.path());
        let sign = || self.bucket.delete_object(Some(&self.keys), &key).sign(SIGNED).to_string();
        self.send("DELETE", &[], None, &sign, &format!("remove {}", name.path())).map(drop)
    }
}

/// The part that was asked for: a store may send all of a file.
pub(super) fn exactly(answer: http::Answer, part: Option<(u32, u32)>) -> Option<Bytes> {
    let Some((offset, length)) = part else { return Some(answer.body) };
    let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    let whole = answer.status != 206;
    let from = if whole { offset } else { 0 };
    let to = from.checked_add(length)?;
    (answer.body.len() >= to && (whole || answer.body.len() == length)).then(|| answer.body.slice(from..to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_store_are_read() {
        let item = "<Contents><Key>a/b</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>x</ETag>\
                    <Size>7</Size></Contents>";
        for head in [
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
            "<ListBucketResult xmlns=\"http://doc.s3.amazonaws.com/2006-03-01/\">",
            "<ListBucketResult>",
        ] {
            let text =
                format!("{head}<Name>b</Name><IsTruncated>false</IsTruncated>{item}</ListBucketResult>");
            let list = parse(text.as_bytes()).unwrap();
            assert_eq!((list.contents[0].key.as_str(), list.contents[0].size), ("a/b", Some(7)), "{head}");
            assert_eq!(list.next_continuation_token, None);
            let empty = parse(format!("{head}</ListBucketResult>").as_bytes()).unwrap();
            assert!(empty.contents.is_empty());
        }
        assert!(parse(b"<html>").unwrap_err().contains("ListBucketResult"));
    }

    #[test]
    fn requests_are_signed_as_amazon_documents_it() {
        // The example in "Authenticating Requests: Using Query Parameters".
        let endpoint = "https://s3.amazonaws.com".parse().unwrap();
        let bucket = Bucket::new(endpoint, UrlStyle::VirtualHost, "examplebucket", "us-east-1").unwrap();
        let keys = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let at: Timestamp = "2013-05-24T00:00:00Z".parse().unwrap();
        let signed =
            bucket.get_object(Some(&keys), "test.txt").sign_with_time(Duration::from_secs(86_400), &at);
        let (_, signature) = signed.as_str().split_once("X-Amz-Signature=").unwrap();
        assert_eq!(signature, "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    }

    #[test]
    fn a_part_is_what_was_asked_for() {
        let answer = |status, body: &str| http::Answer {
            status,
            headers: ureq::http::HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
        };
        assert_eq!(exactly(answer(206, "cd"), Some((2, 2))).as_deref(), Some(&b"cd"[..]));
        // A store that sends all of it.
        assert_eq!(exactly(answer(200, "abcdef"), Some((2, 2))).as_deref(), Some(&b"cd"[..]));
        assert_eq!(exactly(answer(206, "cde"), Some((2, 2))), None);
        assert_eq!(exactly(answer(200, "abc"), Some((2, 2))), None);
    }
}
