// A page that hands GrowthBook's SDK to the test.
import { GrowthBook } from "@growthbook/growthbook";
import { growthbookTrackingPlugin } from "@growthbook/growthbook/plugins";

let gb;

const attributesOf = ({ targetingKey: anonymous_id, ...others }) => ({ anonymous_id, ...others });

window.start = async (person, options = {}) => {
  const { url, key } = window.settings;
  gb = new GrowthBook({
    apiHost: url,
    clientKey: key,
    attributes: attributesOf(person),
    plugins: [growthbookTrackingPlugin({ ingestorHost: url })],
    ...options,
  });
  const { source } = await gb.init({ timeout: 10_000, streaming: true });
  return source;
};
window.setPerson = (person) => gb.setAttributes(attributesOf(person));
window.ask = (flags) =>
  flags.map((flag) => {
    const { value, source, experimentResult } = gb.evalFeature(flag);
    return { value, source, variant: experimentResult?.inExperiment ? experimentResult.key : null };
  });
window.log = (name, properties) => gb.logEvent(name, properties);
