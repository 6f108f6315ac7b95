// The SDKs as a Node backend uses them.
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

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
