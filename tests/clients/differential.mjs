// GrowthBook's JavaScript SDK for the differential test: a payload and people a line, the decisions of all a line.
import { createInterface } from "node:readline";

import { GrowthBookClient } from "@growthbook/growthbook";

console.log = console.warn = console.error = () => {};

for await (const line of createInterface({ input: process.stdin })) {
  const { payload, keys, people } = JSON.parse(line);
  const client = new GrowthBookClient().initSync({ payload });
  const answers = people.map((attributes) =>
    keys.map((key) => {
      const { value, experimentResult } = client.evalFeature(key, { attributes });
      return [value, experimentResult?.inExperiment ? experimentResult.key : null];
    }),
  );
  client.destroy();
  process.stdout.write(JSON.stringify(answers) + "\n");
}
