//! Which format a request asks for. A scraper that gets a page it cannot read loses the target, so whatever is not
//! clearly a wish for OpenMetrics is answered with text.

use super::exposition::Format;

/// One item of a header such as `Accept`: what it names, its parameters, how much it is wanted.
pub(super) struct Weighted<'a> {
    pub(super) name: &'a str,
    params: &'a str,
    pub(super) weight: f32,
}

/// The items of a header, in their order. An item whose weight is no number between 0 and 1 is not understood and left
/// out.
pub(super) fn weighted(header: &str) -> impl Iterator<Item = Weighted<'_>> {
    header.split(',').filter_map(|item| {
        let (name, params) = item.split_once(';').unwrap_or((item, ""));
        let weight = match param(params, "q") {
            None => 1.0,
            Some(text) => text.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight))?,
        };
        Some(Weighted { name: name.trim(), params, weight })
    })
}

fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    params.split(';').find_map(|param| {
        let (key, value) = param.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// How a format is wanted: the weight of the item that names it most closely, as HTTP has it.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Wish {
    weight: f32,
    /// 1 for `*/*`, 2 for `text/*`, 3 for the type itself.
    closeness: u8,
}

/// The format for an `Accept` header. Between equal weights the type that is named beats one that a wildcard covers, and
/// then text beats OpenMetrics.
pub(super) fn negotiate(accept: Option<&str>) -> Format {
    let header = accept.unwrap_or("");
    let openmetrics = wish(header, Format::OpenMetrics100);
    let text = wish(header, Format::Text004);
    // No wish is less than any.
    match openmetrics {
        Some(wanted) if wanted.weight > 0.0 && openmetrics > text => Format::OpenMetrics100,
        _ => Format::Text004,
    }
}

fn wish(header: &str, format: Format) -> Option<Wish> {
    let mut found: Option<Wish> = None;
    for item in weighted(header) {
        let closeness = closeness(&item, format);
        if closeness == 0 {
            continue;
        }
        let wish = Wish { weight: item.weight, closeness };
        let better = found.is_none_or(|best| (closeness, wish.weight) > (best.closeness, best.weight));
        if better {
            found = Some(wish);
        }
    }
    found
}

/// How closely an item names a format; 0 when it does not. A version we do not write is another format.
fn closeness(item: &Weighted, format: Format) -> u8 {
    let (exact, family, versions): (_, _, &[&str]) = match format {
        Format::Text004 => ("text/plain", "text/*", &["0.0.4"]),
        Format::OpenMetrics100 => ("application/openmetrics-text", "application/*", &["1.0.0", "0.0.1"]),
    };
    if item.name.eq_ignore_ascii_case(exact) {
        let offered = param(item.params, "version").is_none_or(|version| versions.contains(&version));
        if offered { 3 } else { 0 }
    } else if item.name.eq_ignore_ascii_case(family) {
        2
    } else if item.name == "*/*" {
        1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expect: Format) {
        assert_eq!(negotiate(Some(accept)), expect, "Accept: {accept}");
    }

    #[test]
    fn scrapers_get_what_they_ask_for() {
        use Format::{OpenMetrics100 as OpenMetrics, Text004 as Text};
        assert_eq!(negotiate(None), Text);
        // Prometheus 3, Prometheus 2, and Prometheus with PrometheusText0.0.4 as its only protocol.
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OpenMetrics,
        );
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics,
        );
        check("text/plain;version=0.0.4;q=0.6,*/*;q=0.2", Text);
        // A scraper that would like protobuf first.
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            OpenMetrics,
        );
        // A browser and curl.
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text);
        check("*/*", Text);
    }

    #[test]
    fn weights_versions_and_wildcards() {
        use Format::{OpenMetrics100 as OpenMetrics, Text004 as Text};
        check("", Text);
        check("application/openmetrics-text", OpenMetrics);
        check("Application/OpenMetrics-Text ; Version=\"1.0.0\"", OpenMetrics);
        check("application/openmetrics-text;version=0.0.1", OpenMetrics);
        check("application/openmetrics-text;version=2.0.0", Text);
        check("application/openmetrics-text;version=2.0.0,*/*;q=0.1", Text);
        check("application/openmetrics-text;q=0", Text);
        check("application/openmetrics-text;q=0.3,text/plain;q=0.8", Text);
        check("application/openmetrics-text;q=0.8,text/plain;q=0.3", OpenMetrics);
        check("application/openmetrics-text,text/plain", Text);
        check("application/openmetrics-text,*/*", OpenMetrics);
        check("application/openmetrics-text;q=0,*/*", Text);
        check("application/openmetrics-text;q=2,*/*;q=0.1", Text);
        check("application/openmetrics-text;q=nan", Text);
        check("application/openmetrics-text;q=0.2,*/*;q=0.9", Text);
        check("application/openmetrics-text;q=0.5,text/plain;q=0,*/*;q=0.9", OpenMetrics);
        check("application/openmetrics-text;q=0,*/*;q=0", Text);
        check("image/png", Text);
        check(";;,,=;q=,", Text);
    }
}
