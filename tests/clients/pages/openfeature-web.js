// A page that hands the web SDK to the test.
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";

const ASK = {
  boolean: "getBooleanDetails",
  string: "getStringDetails",
  number: "getNumberDetails",
  object: "getObjectDetails",
};

const changes = [];

window.start = async (context, options = {}) => {
  const { url, key } = window.settings;
  await OpenFeature.setContext(context);
  OpenFeature.addHandler(ProviderEvents.ConfigurationChanged, (event) => changes.push(event?.flagsChanged ?? []));
  const provider = new OFREPWebProvider({
    baseUrl: url,
    headers: [["Authorization", `Bearer ${key}`]],
    cacheMode: "network-first",
    ...options,
  });
  await OpenFeature.setProviderAndWait(provider);
};
window.setContext = (context) => OpenFeature.setContext(context);
window.ask = (cases) => {
  const client = OpenFeature.getClient();
  return cases.map(({ flag, type, otherwise }) => client[ASK[type]](flag, otherwise));
};
window.changes = changes;
