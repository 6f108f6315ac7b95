// A page that hands Segment's browser library to the test.
import { AnalyticsBrowser } from "@segment/analytics-next";

let analytics;

window.start = async (options = {}, settings = {}) => {
  const { url, key } = window.settings;
  analytics = AnalyticsBrowser.load({ writeKey: key, cdnURL: url, ...settings }, options);
  await analytics.ready();
  return (await analytics.user()).anonymousId();
};
window.make = async (method, ...args) => (await analytics[method](...args)).event.messageId;
window.reset = () => analytics.reset();
