// One process that runs the JavaScript SDKs and a browser for the tests: a JSON command a line, a JSON answer a line.
import { createInterface } from "node:readline";

import * as browser from "./browser.mjs";
import * as servers from "./servers.mjs";

const commands = { ...browser, ...servers };

async function answer({ id, name, args }) {
  try {
    return { id, result: (await commands[name](args)) ?? null };
  } catch (error) {
    return { id, error: String(error.stack ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + "\n");
}
await browser.quit();
process.exit();
