// Headless Chromium, and pages bundled by esbuild.
import { build } from "esbuild";
import { chromium } from "playwright-core";

// Without these, Chromium looks for its maker's hosts at every start.
const QUIET = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

let launched;
const tabs = new Map();

export async function bundle({ entry, out, platform = "browser" }) {
  const { metafile } = await build({
    entryPoints: [entry],
    outfile: out,
    bundle: true,
    platform,
    packages: platform === "browser" ? "bundle" : "external",
    format: "esm",
    metafile: true,
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
    nodePaths: [new URL("node_modules", import.meta.url).pathname],
    logLevel: "silent",
  });
  return Object.keys(metafile.inputs);
}

async function told(response) {
  const request = response.request();
  return {
    method: request.method(),
    url: response.url(),
    status: response.status(),
    sent: await request.allHeaders(),
    got: await response.allHeaders(),
    body: request.postData(),
  };
}

export async function open({ executable, url, width = 1000, cookies = [], media = {} }) {
  launched ??= await chromium.launch({ executablePath: executable, args: QUIET });
  const context = await launched.newContext({ viewport: { width, height: 700 }, ...media });
  await context.addCookies(cookies);
  const page = await context.newPage();
  const wire = [];
  const said = [];
  page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.push(`pageerror: ${error.stack ?? error}`));
  page.on("response", (response) => wire.push(told(response)));
  page.on("requestfailed", (request) => wire.push({ method: request.method(), url: request.url(), status: 0 }));
  const tab = `tab-${tabs.size}`;
  tabs.set(tab, { page, context, wire, said });
  await page.goto(url);
  return tab;
}

export const evaluate = ({ tab, script }) => tabs.get(tab).page.evaluate(script);
export const text = ({ tab, selector }) => tabs.get(tab).page.locator(selector).innerText();
export const appears = ({ tab, text }) => tabs.get(tab).page.getByText(text).first().waitFor();
export const click = ({ tab, selector }) => tabs.get(tab).page.locator(selector).click();
export const reload = ({ tab }) => tabs.get(tab).page.reload().then(() => null);
export const wire = ({ tab }) => Promise.all(tabs.get(tab).wire);
export const said = ({ tab }) => tabs.get(tab).said;

export async function screenshot({ tab, path, width }) {
  const { page } = tabs.get(tab);
  if (width) await page.setViewportSize({ width, height: 700 });
  await page.screenshot({ path, fullPage: true });
}

export async function close({ tab }) {
  await tabs.get(tab).context.close();
}

export async function quit() {
  await launched?.close();
}
