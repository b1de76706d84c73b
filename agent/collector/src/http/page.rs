//! The status page: one document for a person, made here from the judgement that every other surface answers from.
//!
//! It needs no script and loads nothing: the policy that goes with it forbids both, so that a text of a node could do nothing even
//! if it were taken for markup. In reading order: `html` (what writes it), `table`, `words`; then the sections.

mod directions;
mod findings;
mod history;
mod html;
mod levels;
mod nodes;
mod pair;
mod table;
mod words;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use diagnosis::PairFilter;
use evidence::{Gate, Headline, Ladder, Transition, words::human};
use http::{HeaderName, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

use super::{
    documents::error,
    limits,
    routes::{Details, Surface},
};
use crate::{clock, verdicts::Judged};
use html::Html;
use words::Mood;

const STYLE: &str = include_str!("page/style.css");
const HTML: &str = "text/html; charset=utf-8";
/// Sections of the page, for links to them and for what stands over them.
const SECTIONS: [(&str, &str); 5] = [
    ("levels", "Levels"),
    ("findings", "Findings"),
    ("directions", "Directions"),
    ("nodes", "Nodes"),
    ("history", "Last 24 hours"),
];

/// What may stand behind the `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    /// The direction whose ladder is wanted.
    direction: Option<(String, String)>,
    /// Whether a browser stays with what it has.
    still: bool,
}

impl Asked {
    fn parse(fields: &BTreeMap<String, String>) -> Result<Self, String> {
        let (mut from, mut to, mut still) = (None, None, false);
        for (key, value) in fields {
            match (key.as_str(), value.as_str()) {
                ("from", _) => from = Some(value.clone()),
                ("to", _) => to = Some(value.clone()),
                ("refresh", "off") => still = true,
                ("refresh", _) => return Err("field refresh: expected off".to_owned()),
                _ => {
                    return Err(format!("no field {key:?}; known fields: from, to, refresh"));
                }
            }
        }
        let direction = match (from, to) {
            (Some(from), Some(to)) => Some((from, to)),
            (None, None) => None,
            _ => return Err("fields from and to: expected both or neither".to_owned()),
        };
        Ok(Self { direction, still })
    }

    /// The query that asks for the same and for a browser that stays still, or does not.
    fn query(&self, still: bool) -> String {
        let mut fields = Vec::new();
        if let Some((from, to)) = &self.direction {
            fields.extend([("from", from.as_str()), ("to", to.as_str())]);
        }
        if still {
            fields.push(("refresh", "off"));
        }
        let query = html::query(&fields);
        if query.is_empty() {
            "?".to_owned()
        } else {
            query
        }
    }
}

/// All that a page is made of.
struct Content<'a> {
    judged: &'a Judged,
    /// Nothing but phases without details.
    details: Details,
    asked: &'a Asked,
    /// The ladder that was asked for, or why there is none.
    ladder: Option<Result<Cow<'a, Ladder>, Status>>,
    /// Oldest first.
    history: Vec<Transition>,
    /// How old the judgement is.
    age: Duration,
}

/// The page, with the status and the headers that belong to it.
pub(super) async fn answer(
    surface: &Surface,
    details: Details,
    fields: &BTreeMap<String, String>,
) -> Response {
    let asked = match Asked::parse(fields) {
        Ok(asked) => asked,
        Err(message) => {
            surface.counters.http_requests_refused.add();
            return error(StatusCode::BAD_REQUEST, &message);
        }
    };
    let judged = match surface.answers.verdicts.current() {
        Ok(judged) => judged,
        Err(status) => return response(StatusCode::SERVICE_UNAVAILABLE, nothing(&asked, &status)),
    };
    let ladder = match (&asked.direction, details) {
        (Some(direction), Details::Told) => Some(ladder(surface, &judged, direction).await),
        _ => None,
    };
    let code = match &ladder {
        Some(Err(status)) if status.code() == Code::NotFound => StatusCode::NOT_FOUND,
        Some(Err(_)) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let content = Content {
        judged: &judged,
        details,
        asked: &asked,
        ladder,
        history: match details {
            Details::Told => surface.recent.all(),
            Details::Hidden => Vec::new(),
        },
        age: clock::now().since(judged.at),
    };
    response(code, page(&content))
}

/// The ladder of a direction: of the judgement itself, or, where that tells only some, of the view of this moment.
async fn ladder<'a>(
    surface: &Surface,
    judged: &'a Judged,
    (from, to): &(String, String),
) -> Result<Cow<'a, Ladder>, Status> {
    let is = |ladder: &&Ladder| ladder.from.to_string() == *from && ladder.to.to_string() == *to;
    if let Some(told) = judged.verdict.pairs.iter().find(is) {
        return Ok(Cow::Borrowed(told));
    }
    let unknown = || Status::not_found(format!("no direction {from} \u{2192} {to} is known"));
    if judged.verdict.tells_all_pairs() {
        return Err(unknown());
    }
    let filter = PairFilter {
        from: Some(from.clone()),
        to: Some(to.clone()),
        ..PairFilter::default()
    };
    let page = surface.pairs.page(filter).await?;
    let first = page.pairs.into_iter().next();
    first.map(Cow::Owned).ok_or_else(unknown)
}

fn response(code: StatusCode, page: Html) -> Response {
    // Nothing is loaded from anywhere, this page's own style and its empty icon aside; the form asks for this page.
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, HTML),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    (code, headers, page.finish()).into_response()
}

/// The page without a judgement.
fn nothing(asked: &Asked, status: &Status) -> Html {
    document(asked, "Nothing is known", |html| {
        html.element("header", &[], |html| {
            html.element("h1", &[], |html| {
                html.text("Talos mesh: ");
                Mood::Unknown.write(html, "nothing is known");
            });
            html.leaf("p", &[], status.message());
        });
    })
}

fn page(content: &Content<'_>) -> Html {
    let headline = headline(content);
    document(content.asked, &headline.1, |html| {
        head(html, content, &headline);
        html.element("main", &[], |html| {
            if let Some(ladder) = &content.ladder {
                direction(html, content.asked, ladder);
            }
            for (id, title) in SECTIONS {
                section(html, id, title, |html| inside(html, id, content));
            }
        });
    })
}

/// Mood and title.
fn headline(content: &Content<'_>) -> (Mood, String) {
    let verdict = &content.judged.verdict;
    if content.details == Details::Hidden {
        return (Mood::Unknown, "levels alone".to_owned());
    }
    let headline = verdict.headline();
    let mood = match headline {
        Headline::Nothing => Mood::Unknown,
        Headline::Problems(_) => Mood::Bad,
        Headline::Doubts(_) => Mood::Warn,
        Headline::Measured(_) | Headline::Well => Mood::Good,
    };
    (mood, headline.title())
}

fn document(asked: &Asked, title: &str, body: impl FnOnce(&mut Html)) -> Html {
    let mut page = Html::default();
    page.doctype().element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |html| {
            html.tag("meta", &[("charset", "utf-8")]);
            let viewport = "width=device-width, initial-scale=1";
            html.tag("meta", &[("name", "viewport"), ("content", viewport)]);
            let schemes = [("name", "color-scheme"), ("content", "light dark")];
            html.tag("meta", &schemes);
            if !asked.still {
                let seconds = limits::REFRESH.as_secs().to_string();
                let refresh = [("http-equiv", "refresh"), ("content", seconds.as_str())];
                html.tag("meta", &refresh);
            }
            html.leaf("title", &[], &format!("{title} - Talos mesh"));
            // Without one a browser asks for /favicon.ico.
            html.tag("link", &[("rel", "icon"), ("href", "data:,")]);
            html.style(STYLE);
        });
        html.element("body", &[], body);
    });
    page
}

fn head(html: &mut Html, content: &Content<'_>, (mood, title): &(Mood, String)) {
    let verdict = &content.judged.verdict;
    html.element("header", &[], |html| {
        html.element("h1", &[], |html| {
            html.text("Talos mesh: ");
            mood.write(html, title);
        });
        if content.details == Details::Told {
            html.leaf("p", &[], &verdict.summary());
            match verdict.headline() {
                Headline::Doubts(doubts) => lines(html, &doubts),
                Headline::Measured(unknown) => lines(html, &[unknown]),
                _ => {}
            }
        } else {
            html.leaf(
                "p",
                &[],
                "Here only whether levels are ready is told. Details are told to readers: over TLS with a reader's certificate \
                 (--https), or by mesh-probe.",
            );
        }
        freshness(html, content);
        html.element("nav", &[("aria-label", "Sections")], |html| {
            for (id, title) in SECTIONS.iter().filter(|(id, _)| told(content, id)) {
                html.leaf("a", &[("href", &format!("#{id}"))], title);
            }
        });
    });
}

/// A page without its age could be yesterday's.
fn freshness(html: &mut Html, content: &Content<'_>) {
    let at = SystemTime::now().checked_sub(content.age);
    let at = at.map(|at| humantime::format_rfc3339_seconds(at).to_string());
    let age = human(content.age);
    let still = content.asked.still;
    html.element("p", &[("class", "more")], |html| {
        html.text("Judged at ");
        html.leaf("time", &[], at.as_deref().unwrap_or("an unknown time"));
        html.text(&format!(
            " by the collector's clock, {age} before it was sent. "
        ));
        let (says, does) = if still {
            ("This page stays as it is: ", "reload it by itself")
        } else {
            ("Reloads by itself: ", "stop that")
        };
        html.text(says);
        html.leaf("a", &[("href", &content.asked.query(!still))], does);
        html.text(".");
    });
}

fn direction(html: &mut Html, asked: &Asked, ladder: &Result<Cow<'_, Ladder>, Status>) {
    let title = match &asked.direction {
        Some((from, to)) => format!("{from} \u{2192} {to}"),
        None => String::new(),
    };
    section(html, "direction", &title, |html| match ladder {
        Ok(ladder) => pair::draw(html, ladder),
        Err(status) => {
            html.element("p", &[], |html| Mood::Unknown.write(html, status.message()));
        }
    });
}

/// A section, or, where it would make the page too long, the sentence that says so.
fn section(html: &mut Html, id: &str, title: &str, content: impl FnOnce(&mut Html)) {
    let mut inner = Html::default();
    content(&mut inner);
    if inner.len() == 0 {
        return;
    }
    let heading = format!("{id}-title");
    let attributes = [("id", id), ("aria-labelledby", heading.as_str())];
    html.element("section", &attributes, |html| {
        html.leaf("h2", &[("id", heading.as_str())], title);
        if html.len() + inner.len() > limits::PAGE_BYTES - ROOM {
            html.leaf(
                "p",
                &[("class", "more")],
                "Too long for this page: mesh-probe has all of it, and so have /mesh and /findings.",
            );
        } else {
            html.add(&inner);
        }
    });
}

/// Bytes that headings and such sentences may take at the end of a page.
const ROOM: usize = 64 * 1024;

fn told(content: &Content<'_>, id: &str) -> bool {
    content.details == Details::Told || id == "levels"
}

fn inside(html: &mut Html, id: &str, content: &Content<'_>) {
    let verdict = &content.judged.verdict;
    if !told(content, id) {
        return;
    }
    match id {
        "levels" if content.details == Details::Hidden => {
            let bare = |gate: &Gate| Gate {
                // They name nodes and what is wrong with them.
                reasons: Vec::new(),
                ..gate.clone()
            };
            let gates: Vec<Gate> = verdict.gates.iter().map(bare).collect();
            levels::draw(html, verdict, &gates);
        }
        "levels" => levels::draw(html, verdict, &verdict.gates),
        "findings" => findings::draw(html, verdict),
        "directions" => directions::draw(html, verdict),
        "nodes" => nodes::draw(html, verdict),
        _ => history::draw(html, &content.history, content.judged.at),
    }
}

fn lines(html: &mut Html, lines: &[String]) {
    html.element("ul", &[], |html| {
        for line in lines {
            html.leaf("li", &[], line);
        }
    });
}

#[cfg(test)]
mod tests;
