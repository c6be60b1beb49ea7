/**
 * A policy module as the user names it, and what workers are told to import; tried before anything depends on it.
 *
 * @module
 */
import type { ConfigIssue, PolicyConfig } from "../config/mod.ts";
import { DEFAULT_POLICY_BUDGET_MS } from "../config/mod.ts";
import type { FromWorker, PolicyModuleSettings, ToWorker } from "../dataplane/protocol.ts";

/** A module that has not come to its end by then is not going to. */
const TRIAL_MS = 10_000;
const WANTED = "a module whose default export is a function that answers at once";
/** So much of a hash that no two texts that anybody has written share it. */
const VERSION_BYTES = 8;

/** What workers import for `policy`; undefined: nothing, or there is an issue. */
export async function resolvePolicyModule(
  { module, budgetMs = DEFAULT_POLICY_BUDGET_MS }: PolicyConfig,
  issues: ConfigIssue[],
): Promise<PolicyModuleSettings | undefined> {
  if (module === undefined) return undefined;
  try {
    const url = await versioned(moduleUrl(module));
    const fault = await tryModule(module, url);
    if (fault === undefined) return { url, budgetMs };
    issues.push({ path: "--policy", found: fault, wanted: WANTED });
  } catch (error) {
    const message = error instanceof Error ? error.message.replace(/: \w+ '.*'$/, "") : String(error);
    issues.push({ path: "--policy", found: `${module} (${message})`, wanted: "a file that can be read" });
  }
  return undefined;
}

function moduleUrl(module: string): URL {
  return module.startsWith("/")
    ? new URL(`file://${encodeURI(module).replaceAll(/[?#]/g, encodeURIComponent)}`)
    : new URL(module);
}

/**
 * The runtime imports each address once in a thread's life; so a file's has a hash of its text in it. What the file
 * imports itself, and what is fetched from elsewhere, stays as it was.
 */
async function versioned(url: URL): Promise<string> {
  if (url.protocol !== "file:") return url.href;
  const hash = await crypto.subtle.digest("SHA-256", await Deno.readFile(url));
  const version = new Uint8Array(hash, 0, VERSION_BYTES).toHex();
  return `${url.href}?pellucid=${version}`;
}

/** Imports it in a thread of its own, since it may do anything. @returns what is wrong with it. */
async function tryModule(module: string, url: string): Promise<string | undefined> {
  const worker = new Worker(new URL("../dataplane/main.ts", import.meta.url), {
    type: "module",
    name: "pellucid-policy-trial",
  });
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if (data.kind === "tried") resolve(data.fault);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    resolve(event.message);
  };
  const timer = setTimeout(
    () => resolve(`${module}: its top has not come to an end after ${TRIAL_MS / 1000} s`),
    TRIAL_MS,
  );
  try {
    const message: ToWorker = { kind: "try-policy", url };
    worker.postMessage(message);
    return await promise;
  } finally {
    clearTimeout(timer);
    worker.terminate();
  }
}
