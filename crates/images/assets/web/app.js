// Starts Hydrogen with the homeserver that Element Web's configuration file names.
import { FeatureSet, Platform, RootViewModel, createNavigation, createRouter } from "hydrogen-view-sdk";

const asset = (name) => new URL(name, import.meta.url).pathname;

/** Shows a text in place of the client. */
function say(text) {
  const message = document.createElement("p");
  message.style.margin = "2em";
  message.textContent = text;
  document.body.replaceChildren(message);
}

/** The address of the homeserver in a configuration in Element's format. */
function homeserver(config) {
  const server = config.default_server_config?.["m.homeserver"];
  return server?.base_url ?? config.default_hs_url ?? config.default_server_name ?? "";
}

async function loadConfig() {
  const response = await fetch("config.json", { cache: "no-cache" });
  if (!response.ok) {
    throw new Error(`config.json: the server answered ${response.status}`);
  }
  return response.json();
}

async function start() {
  if (!window.isSecureContext) {
    say("Hydrogen encrypts in the browser, which browsers allow on https:// (and localhost) only. Open this page with https://.");
    return;
  }
  const platform = new Platform({
    container: document.body,
    assetPaths: {
      downloadSandbox: asset("download-sandbox.html"),
      worker: asset("worker.js"),
      olm: { wasm: asset("olm.wasm"), wasmBundle: asset("olm.js"), legacyBundle: asset("olm_legacy.js") },
      serviceWorker: "sw.js",
    },
    config: { defaultHomeServer: homeserver(await loadConfig()) },
    options: { development: false },
  });
  const navigation = createNavigation();
  platform.setNavigation(navigation);
  await platform.init();
  const urlRouter = createRouter({ navigation, history: platform.history });
  urlRouter.attach();
  const features = await FeatureSet.load(platform.settingsStorage);
  const root = new RootViewModel({ platform, urlRouter, navigation, features });
  await root.load();
  platform.createAndMountRootView(root);
}

start().catch((error) => {
  console.error(error);
  say(`Hydrogen could not start: ${error.message}`);
});
