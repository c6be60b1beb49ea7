/**
 * Office hours: on working days between two hours TCP leaves by the upstream `office`, at any other time from here.
 *
 *     OFFICE_HOURS=8-18 pellucid run --config gateway.toml --policy policy_by_time.ts
 *
 * where gateway.toml has an `[upstream.office]`, a SOCKS5 server for instance. Datagrams, and what the office itself
 * has, are left to the rules.
 *
 * @module
 */
import type { PolicyFunction } from "../../mod.ts";

/** Read once: the module runs from its top when the proxy starts, and when it reads its configuration again. */
const [begin, end] = readHours(Deno.env.get("OFFICE_HOURS") ?? "8-18");
const OFFICE_NETWORK = "10.20.";

/** How long an answer about the time is good for. */
const CLOCK_MS = 1_000;
let isOpen = false;
let lookedAt = -Infinity;

const decide: PolicyFunction = (flow) => {
  if (flow.network === "udp" || flow.destination.address.startsWith(OFFICE_NETWORK)) return undefined;
  return isOfficeTime() ? "office" : "direct";
};
export default decide;

/** Thousands of flows may begin in a second, in all of which the answer is the same. */
function isOfficeTime(): boolean {
  const now = Date.now();
  if (now - lookedAt >= CLOCK_MS || now < lookedAt) {
    const date = new Date(now);
    const isWorkingDay = date.getDay() % 6 !== 0 || end - begin === 24;
    [isOpen, lookedAt] = [isWorkingDay && date.getHours() >= begin && date.getHours() < end, now];
  }
  return isOpen;
}

/** `8-18`; `0-24` is always, `0-0` never. What is thrown here is what `pellucid run` ends with. */
function readHours(text: string): [begin: number, end: number] {
  const match = /^(\d{1,2})-(\d{1,2})$/.exec(text);
  const [begin, end] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || begin > end || end > 24) {
    throw new RangeError(`OFFICE_HOURS: ${text} found, hours such as 8-18 wanted`);
  }
  return [begin, end];
}
