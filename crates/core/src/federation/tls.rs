//! Certificates in words for people.

use crate::fact::{Certificate, Distrust, Tls};

use super::Host;

/// A day, in seconds.
pub const DAY: i64 = 86_400;

/// What is wrong with the certificate that `host` showed, in a sentence.
pub fn certificate_problem(tls: &Tls, host: &Host) -> Option<String> {
    let distrust = tls.distrust.as_ref()?;
    let certificate = tls.certificate.as_ref();
    let by = |of: fn(&Certificate) -> i64| certificate.map(|c| date(of(c)));
    Some(match distrust {
        Distrust::Expired => match by(|c| c.not_after) {
            Some(end) => format!("its certificate was valid until {end}"),
            None => "its certificate is past its end".to_owned(),
        },
        Distrust::NotYetValid => match by(|c| c.not_before) {
            Some(begin) => format!("its certificate is valid only from {begin} on"),
            None => "its certificate is not valid yet".to_owned(),
        },
        Distrust::WrongName => {
            let names = certificate.map(|c| c.names.join(", ")).filter(|names| !names.is_empty());
            match names {
                Some(names) => format!("its certificate is for {names}, not for {host}"),
                None => format!("its certificate is not for {host}"),
            }
        }
        Distrust::UnknownIssuer => match certificate {
            Some(c) if !c.issuer.is_empty() => {
                format!("its certificate was issued by {}, whom this machine does not trust", c.issuer)
            }
            _ => "its certificate was issued by nobody whom this machine trusts".to_owned(),
        },
        Distrust::Other(why) => format!("its certificate is not accepted: {why}"),
    })
}

/// What to do about it.
pub fn certificate_hint(distrust: &Distrust) -> &'static str {
    match distrust {
        Distrust::Expired => {
            "renew the certificate where TLS ends, and see why that did not happen automatically"
        }
        Distrust::NotYetValid => "see whether the clock of this machine is right (`date`)",
        Distrust::WrongName => "where TLS ends, use a certificate for that very name",
        Distrust::UnknownIssuer => {
            "where TLS ends, serve the whole chain (fullchain.pem, not cert.pem); if the network has a CA of its \
             own, name it with --ca-file"
        }
        Distrust::Other(_) => "`openssl s_client -connect HOST:PORT -servername HOST` shows it in detail",
    }
}

/// A day in UTC: `2026-01-31`. Days are counted from 1970-01-01 in the civil
/// calendar (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(DAY) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, wanted) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_102_444_800, "2100-01-01"),
        ] {
            assert_eq!(date(seconds), wanted);
        }
    }

    #[test]
    fn problems_are_told_in_a_sentence() {
        let host = Host::Name("a.example".to_owned());
        let told = |distrust| {
            let certificate = Certificate {
                issuer: "Own CA".to_owned(),
                names: vec!["b.example".to_owned(), "*.b.example".to_owned()],
                not_before: 0,
                not_after: 951_782_400,
            };
            let tls = Tls {
                version: "TLS 1.3".to_owned(),
                cipher: String::new(),
                distrust: Some(distrust),
                certificate: Some(certificate),
            };
            certificate_problem(&tls, &host).unwrap()
        };
        assert_eq!(told(Distrust::Expired), "its certificate was valid until 2000-02-29");
        assert_eq!(told(Distrust::NotYetValid), "its certificate is valid only from 1970-01-01 on");
        assert_eq!(
            told(Distrust::WrongName),
            "its certificate is for b.example, *.b.example, not for a.example"
        );
        assert_eq!(
            told(Distrust::UnknownIssuer),
            "its certificate was issued by Own CA, whom this machine does not trust"
        );
    }
}
