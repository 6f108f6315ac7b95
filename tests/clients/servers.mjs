// The SDKs as a Node backend uses them.
import { GrowthBook, GrowthBookClient, setPolyfills } from "@growthbook/growthbook";
import { growthbookTrackingPlugin } from "@growthbook/growthbook/plugins";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";
import { Analytics } from "@segment/analytics-node";
import { EventSource } from "eventsource";

const ASK = {
  boolean: "getBooleanDetails",
  string: "getStringDetails",
  number: "getNumberDetails",
  object: "getObjectDetails",
};

let clients = 0;

export async function openfeature({ url, key, cases }) {
  const domain = `client-${++clients}`;
  const headersFactory = () => [["Authorization", `Bearer ${key}`]];
  await OpenFeature.setProviderAndWait(domain, new OFREPProvider({ baseUrl: url, headersFactory }));
  const client = OpenFeature.getClient(domain);
  const details = [];
  for (const { flag, type, otherwise, context } of cases) {
    details.push(await client[ASK[type]](flag, otherwise, context));
  }
  return details;
}

// Attributes in GrowthBook's words: OpenFeature's targetingKey is the anonymous id.
const attributesOf = ({ targetingKey: anonymous_id, ...others }) => ({ anonymous_id, ...others });

const tell = ({ value, source, experimentResult }) => ({
  value,
  source,
  variant: experimentResult?.inExperiment ? experimentResult.key : null,
});

/** Every flag for every person by one multi-user client that holds the rules. */
export async function growthbook({ url, key, flags, people }) {
  const client = new GrowthBookClient({ apiHost: url, clientKey: key });
  await client.init({ timeout: 10_000, skipCache: true });
  const answers = people.map((person) =>
    flags.map((flag) => tell(client.evalFeature(flag, { attributes: attributesOf(person) }))),
  );
  client.destroy();
  return answers;
}

/** The same with the rules hidden: the server evaluates for each person, and names what is to be tracked. */
export async function growthbookRemote({ url, key, flags, people }) {
  const answers = [];
  for (const person of people) {
    const told = {};
    const gb = new GrowthBook({
      apiHost: url,
      clientKey: key,
      remoteEval: true,
      attributes: attributesOf(person),
      trackingCallback: (experiment, result) => (told[experiment.key] = result.key),
    });
    await gb.init({ timeout: 10_000, skipCache: true });
    const values = flags.map((flag) => gb.evalFeature(flag).value);
    answers.push(flags.map((flag, place) => ({ value: values[place], variant: told[flag] ?? null })));
    gb.destroy();
  }
  return answers;
}

let listener;

/** Begin to listen for changes; `growthbookHeard` gives a flag's value as it is known now. */
export async function growthbookListen({ url, key }) {
  setPolyfills({ EventSource });
  listener = new GrowthBookClient({ apiHost: url, clientKey: key });
  await listener.init({ timeout: 10_000, skipCache: true, streaming: true });
}

export const growthbookHeard = ({ flag, person }) =>
  listener.evalFeature(flag, { attributes: attributesOf(person) }).value;

export async function growthbookHangUp() {
  listener.destroy();
}

/** Evaluate one flag with the tracking plugin, and wait until its events are sent. */
export async function growthbookTell({ url, key, flag, person }) {
  const plugin = growthbookTrackingPlugin({ ingestorHost: url });
  const gb = new GrowthBook({ apiHost: url, clientKey: key, attributes: attributesOf(person), plugins: [plugin] });
  await gb.init({ timeout: 10_000, skipCache: true });
  gb.evalFeature(flag);
  // The logger's promise ends with the batch it joins.
  await gb.logEvent("Page Viewed");
  gb.destroy();
}

/** Make calls with Segment's library for servers, and wait until it has sent them; tell what it could not deliver. */
export async function segment({ url, key, calls, flushAt = 15 }) {
  const analytics = new Analytics({ writeKey: key, host: url, flushAt, maxRetries: 2 });
  const failed = [];
  analytics.on("error", ({ code, reason }) => failed.push(`${code}: ${reason?.message ?? reason}`));
  for (const { method, ...message } of calls) analytics[method](message);
  await analytics.closeAndFlush({ timeout: 20_000 });
  return failed;
}
