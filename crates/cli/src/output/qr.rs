//! QR codes in the terminal: two modules above each other in one character.

use anstyle::{AnsiColor, Color, Style};
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2, types::QrError};

use super::styled;

/// White on black whatever the terminal's colours: the light modules are the
/// ones that are drawn.
const INK: Style = AnsiColor::BrightWhite.on_default().bg_color(Some(Color::Ansi(AnsiColor::Black)));

/// The lines of a QR code that says `text`.
pub fn lines(text: &str) -> Result<Vec<String>, QrError> {
    // A screen is not smudged: the least correction makes the smallest picture.
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    let picture = code
        .render::<Dense1x2>()
        // What the crate calls dark is what it draws.
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    Ok(picture.lines().map(|line| styled(INK, line)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a camera sees: the characters as modules, light ones white.
    fn seen(lines: &[String]) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in lines {
            let line = anstream::adapter::strip_str(line).to_string();
            rows.push(line.chars().map(|c| matches!(c, '█' | '▀')).collect());
            rows.push(line.chars().map(|c| matches!(c, '█' | '▄')).collect());
        }
        rows
    }

    #[test]
    fn another_program_reads_what_is_drawn() {
        let text = "https://chat.family.home.arpa\nServer: matrix.family.home.arpa\nToken: k7Fq.x_9~Z-";
        let rows = seen(&lines(text).unwrap());
        const PIXELS: usize = 6;
        let mut picture = rqrr::PreparedImage::prepare_from_greyscale(
            rows[0].len() * PIXELS,
            rows.len() * PIXELS,
            |x, y| {
                if rows[y / PIXELS][x / PIXELS] { 255 } else { 0 }
            },
        );
        let grids = picture.detect_grids();
        assert_eq!(grids.len(), 1);
        assert_eq!(grids[0].decode().unwrap().1, text);
    }

    #[test]
    fn an_invitation_fits_a_terminal() {
        let text = "https://chat.our-family-name.example\nServer: matrix.our-family-name.example\nToken: 0123456789abcdef";
        let lines = lines(text).unwrap();
        assert!(lines.len() <= 25, "{} lines", lines.len());
    }
}
