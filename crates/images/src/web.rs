//! The web client: Hydrogen's packages from npm, put together as a page.
//!
//! The packages are prebuilt modules, so nothing is bundled: the page has an import map, and the
//! few modules of the older kind get two lines around them. All of it stands in a directory named
//! after its content, which browsers may keep forever.

use std::fs;
use std::path::Path;

use crate::assets;
use crate::error::{Error, IoContext, unexpected};
use crate::oci;
use crate::tools::{command, run};

const ADVICE: &str = "Check that this machine reaches npm's registry (`npm ping`), then try again.";
/// Modules that speak CommonJS, and the file of each.
const COMMON_JS: &[(&str, &str)] = &[
    ("another-json.js", "another-json/another-json.js"),
    ("base64-arraybuffer.js", "base64-arraybuffer/lib/base64-arraybuffer.js"),
    ("off-color.js", "off-color/cjs/index.min.js"),
];
/// Files that are used as they are.
const PLAIN: &[(&str, &str)] = &[
    ("dompurify.js", "dompurify/dist/purify.es.js"),
    ("hydrogen.js", "hydrogen-view-sdk/lib-build/hydrogen.es.js"),
    ("worker.js", "hydrogen-view-sdk/asset-build/assets/main.js"),
    ("olm.js", "@matrix-org/olm/olm.js"),
    ("olm.wasm", "@matrix-org/olm/olm.wasm"),
    ("olm_legacy.js", "@matrix-org/olm/olm_legacy.js"),
];
const HYDROGEN_ASSETS: &str = "hydrogen-view-sdk/asset-build/assets";
/// Serves a remembered configuration first and fetches the new one for the next visit. An operator
/// who changes it wants it seen at once.
const STALE_CONFIG: &str = r#"request.url.includes("config.json") || "#;

/// The version of Hydrogen that the lock file names.
pub(crate) fn version() -> Result<String, Error> {
    let lock: serde_json::Value = serde_json::from_str(assets::NPM[1].content).unwrap_or_default();
    let version = &lock["packages"]["node_modules/hydrogen-view-sdk"]["version"];
    version.as_str().map(str::to_owned).ok_or_else(|| {
        unexpected(
            "find Hydrogen's version",
            "package-lock.json does not name it",
            "report this as a mistake",
        )
    })
}

/// Writes the page below `stage`.
pub(crate) fn install(stage: &Path, work: &Path) -> Result<(), Error> {
    let npm = work.join("npm");
    for file in &assets::NPM {
        assets::place(file, &npm)?;
    }
    let mut ci = command("npm");
    ci.current_dir(&npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(ci, "fetch Hydrogen and its packages", ADVICE)?;
    assemble(&npm.join("node_modules"), &stage.join("app"))
}

fn assemble(modules: &Path, app: &Path) -> Result<(), Error> {
    let mut files = collect(modules)?;
    files.sort();
    let mut all = Vec::new();
    for (name, content) in &files {
        all.extend_from_slice(format!("{name} {}\n", oci::digest(content)).as_bytes());
    }
    let digest = oci::digest(&all);
    let hash = &digest["sha256:".len()..][..12];
    for (name, content) in &files {
        assets::write(&app.join("assets").join(hash).join(name), content, 0o644)?;
    }
    let worker = modules.join("hydrogen-view-sdk/lib-build/sw.js");
    let worker = fs::read_to_string(&worker).during("read", &worker)?;
    if !worker.contains(STALE_CONFIG) {
        return Err(unexpected(
            "adapt Hydrogen's service worker",
            "it is not the one that is known",
            "use the version of hydrogen-view-sdk in package-lock.json",
        ));
    }
    assets::write(&app.join("sw.js"), worker.replace(STALE_CONFIG, "").as_bytes(), 0o644)?;
    assets::write(&app.join("index.html"), assets::WEB_INDEX.replace("@HASH@", hash).as_bytes(), 0o644)?;
    assets::write(&app.join("version"), format!("{}\n", version()?).as_bytes(), 0o644)
}

/// Name and content of every file of the page's own directory.
fn collect(modules: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let read = |path: &str| {
        let path = modules.join(path);
        fs::read(&path).during("read", &path)
    };
    let mut files = vec![
        ("app.js".to_owned(), assets::WEB_APP.as_bytes().to_vec()),
        // The page loads olm when it is needed; importing it as well would be too early.
        ("empty.js".to_owned(), b"export {};\n".to_vec()),
    ];
    for (name, path) in PLAIN {
        files.push(((*name).to_owned(), read(path)?));
    }
    for (name, path) in COMMON_JS {
        files.push(((*name).to_owned(), as_module(&read(path)?)));
    }
    let dir = modules.join(HYDROGEN_ASSETS);
    for entry in fs::read_dir(&dir).during("read", &dir)? {
        let entry = entry.during("read", &dir)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Every browser that runs Hydrogen knows woff2; the worker is there under its own name.
        let wanted = !name.ends_with(".woff") && !name.ends_with(".json") && name != "main.js";
        if wanted {
            let content = fs::read(entry.path()).during("read", &entry.path())?;
            if name.starts_with("element-logo-") && name.matches('-').count() == 2 {
                files.push(("element-logo.svg".to_owned(), content.clone()));
            }
            files.push((name, content));
        }
    }
    Ok(files)
}

/// Makes a module of a CommonJS file.
fn as_module(source: &[u8]) -> Vec<u8> {
    let mut module = b"const module = { exports: {} };\nlet exports = module.exports;\n".to_vec();
    module.extend_from_slice(source);
    module.extend_from_slice(b"\nexport default module.exports;\n");
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_names_the_version() {
        assert!(version().unwrap().starts_with("0."));
    }

    #[test]
    fn a_page_is_put_together() {
        let dir = tempfile::tempdir().unwrap();
        let (modules, app) = (dir.path().join("modules"), dir.path().join("app"));
        for (_, path) in PLAIN.iter().chain(COMMON_JS) {
            assets::write(&modules.join(path), b"content", 0o644).unwrap();
        }
        assets::write(&modules.join(HYDROGEN_ASSETS).join("a.woff"), b"", 0o644).unwrap();
        let worker = modules.join("hydrogen-view-sdk/lib-build/sw.js");
        assets::write(&worker, b"changed", 0o644).unwrap();
        assert!(assemble(&modules, &app).unwrap_err().to_string().contains("service worker"));
        assets::write(&worker, format!("if ({STALE_CONFIG}x)").as_bytes(), 0o644).unwrap();
        assemble(&modules, &app).unwrap();
        let index = fs::read_to_string(app.join("index.html")).unwrap();
        let script = index.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(app.join(script).is_file(), "{script}");
        assert!(!index.contains('@') || !index.contains("@HASH@"));
        assert_eq!(fs::read_to_string(app.join("sw.js")).unwrap(), "if (x)");
        let module = fs::read_to_string(app.join(script).with_file_name("off-color.js")).unwrap();
        assert!(module.ends_with("content\nexport default module.exports;\n"), "{module}");
    }
}
