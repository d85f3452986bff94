// Logs in to the web client in a real browser and sends a message to a room.
//
//   node hydrogen.mjs --url http://localhost:8080 --homeserver http://localhost:8008 \
//       --user alice --password-file FILE --message TEXT --screenshot FILE.png \
//       [--public https://matrix.home.arpa] [--room NAME] [--chromium /usr/bin/chromium]
//
// With --public, requests to that address are led to the homeserver, as the edge in front of a
// server does; the page must then know the address by itself.
//
// Without a room of that name it makes an encrypted one. Prints one line of JSON when the message is
// sent. Browsers encrypt on https and localhost only; for another plain address it asks Chromium to
// make an exception.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: args } = parseArgs({
  options: {
    url: { type: "string" },
    homeserver: { type: "string" },
    public: { type: "string" },
    user: { type: "string" },
    "password-file": { type: "string" },
    message: { type: "string" },
    screenshot: { type: "string" },
    room: { type: "string", default: "Browser test" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
for (const name of ["url", "user", "password-file", "message", "screenshot"]) {
  if (!args[name]) {
    console.error(`hydrogen.mjs: --${name} is missing`);
    process.exit(2);
  }
}

const TIMEOUT = 30_000;
const browser = await chromium.launch({
  executablePath: args.chromium,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--unsafely-treat-insecure-origin-as-secure=${new URL(args.url).origin}`,
  ],
});
const page = await browser.newPage({ viewport: { width: 1200, height: 800 }, ignoreHTTPSErrors: true });
page.setDefaultTimeout(TIMEOUT);
if (args.public) {
  await page.context().route(`${args.public}/**`, async (route) => {
    const url = args.homeserver + route.request().url().slice(args.public.length);
    try {
      await route.fulfill({ response: await route.fetch({ url, timeout: 0 }) });
    } catch {
      // The page went away or gave the request up.
      await route.abort().catch(() => {});
    }
  });
}
const log = [];
page.on("console", (message) => log.push(`${message.type()}: ${message.text()}`));
page.on("pageerror", (error) => log.push(`error: ${error.message}`));

async function logIn() {
  await page.goto(args.url);
  const homeserver = page.locator("#homeserver");
  await homeserver.waitFor();
  const prefilled = await homeserver.inputValue();
  const wanted = args.public ?? args.homeserver;
  if (args.public && prefilled !== wanted) {
    throw new Error(`the page knows ${prefilled}, not ${wanted}`);
  }
  if (wanted && prefilled !== wanted) {
    await homeserver.fill(wanted);
    await homeserver.press("Tab");
  }
  await page.locator("#username").fill(args.user);
  await page.locator("#password").fill(readFileSync(args["password-file"], "utf8").trimEnd());
  await submit();
  await page.locator(".LeftPanel").waitFor();
  return prefilled;
}

/** Logs in; when the server says that somebody comes too often, later again, as a person would. */
async function submit() {
  const button = page.getByRole("button", { name: "Log In", exact: true });
  for (;;) {
    const answered = page.waitForResponse((r) => r.url().includes("/login") && r.request().method() === "POST");
    await button.click();
    const response = await answered;
    if (response.status() !== 429) {
      return;
    }
    const { retry_after_ms: pause = 5_000 } = await response.json();
    await page.waitForTimeout(pause + 100);
  }
}

/** Waits a little for something that need not come, such as the first room of a new user. */
async function settle(locator) {
  await locator.waitFor({ timeout: 3_000 }).catch(() => {});
}

async function openRoom() {
  const room = page.locator(".RoomList .name", { hasText: args.room }).first();
  await settle(page.locator(".RoomList .name").first());
  if ((await room.count()) === 0) {
    await page.locator(".LeftPanel .create").click();
    await page.getByRole("button", { name: "Create Room", exact: true }).click();
    await page.locator("#name").fill(args.room);
    await page.locator(".CreateRoomView_detailsForm button[type=submit]").click();
  }
  // Hydrogen does not always go to a room that it made.
  await room.click();
  await page.locator(".MessageComposer textarea").waitFor();
}

async function send() {
  const box = page.locator(".MessageComposer textarea");
  await box.fill(args.message);
  await box.press("Enter");
  const sent = page.locator(".Timeline_message:not(.unsent) .Timeline_messageBody", { hasText: args.message });
  await sent.last().waitFor();
}

let failure;
let prefilled;
try {
  prefilled = await logIn();
  await openRoom();
  await send();
} catch (error) {
  failure = error;
}
await page.screenshot({ path: args.screenshot });
const title = await page.title();
await browser.close();
if (failure) {
  console.error(log.join("\n"));
  console.error(`hydrogen.mjs: ${failure.message}`);
  process.exit(1);
}
console.log(JSON.stringify({ title, prefilled, message: args.message, screenshot: args.screenshot }));
