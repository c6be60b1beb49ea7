/**
 * Imports a policy module, and says what is wrong with it as its author would look for it: file, line, message.
 *
 * @module
 */
import type { PolicyFunction } from "./policy_function.ts";

/** Escape sequences for terminals, which the runtime's messages have. */
const COLOURS = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");

/** One that takes longer to import is not waited for: the worker carries nothing meanwhile. Less than a reload waits. */
const IMPORT_MS = 4_000;

/** A module that cannot be used. */
export class PolicyModuleError extends Error {
  override readonly name = "PolicyModuleError";
}

/**
 * Imports the module at `url` and runs it.
 *
 * @returns its default export.
 * @throws {PolicyModuleError} with one line: where, and what.
 */
export async function importPolicy(url: string): Promise<PolicyFunction> {
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = await import(url);
  } catch (error) {
    throw new PolicyModuleError(describeFailure(error, url));
  }
  const policy = exported.default;
  if (policy === undefined) throw new PolicyModuleError(`${placeText(url)}: no default export`);
  if (typeof policy !== "function") {
    throw new PolicyModuleError(`${placeText(url)}: a default export that is ${typeOf(policy)}`);
  }
  // It would answer with promises.
  if (/^Async/.test(policy.constructor.name)) {
    throw new PolicyModuleError(`${placeText(url)}: an async function`);
  }
  return policy as PolicyFunction;
}

/**
 * The same for a thread that has connections to carry.
 *
 * @throws {PolicyModuleError} also when the module's top takes too long, or comes to no end.
 */
export async function importPolicySoon(url: string, withinMs: number = IMPORT_MS): Promise<PolicyFunction> {
  const timeUp = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      timeUp.reject(
        new PolicyModuleError(
          `${placeText(url)}: its top has not come to an end after ${withinMs / 1000} s`,
        ),
      ),
    withinMs,
  );
  try {
    return await Promise.race([importPolicy(url), timeUp.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** The runtime tells of a fault in the text in its message, of one that was thrown in its stack. */
function describeFailure(error: unknown, url: string): string {
  if (!(error instanceof Error)) return `${placeText(url)}: ${String(error)}`;
  const message = error.message.replaceAll(COLOURS, "");
  const place = placeIn(message) ?? placeIn(error.stack ?? "") ?? url;
  const [first] = message.split("\n");
  const what = first!.startsWith("SyntaxError: ") || error.name === "TypeError"
    ? first!
    : `${error.name}: ${first}`;
  return `${placeText(place)}: ${withoutVersion(what)}`;
}

function placeIn(text: string): string | undefined {
  const match = /\bat (?:.*\()?((?:file|https?|data):\S+?:\d+:\d+)\)?$/m.exec(text);
  // Not ours, who imported it.
  return match === null || match[1]!.includes(import.meta.url) ? undefined : match[1];
}

/** A file's path, without what we have put behind it. */
function placeText(url: string): string {
  const text = withoutVersion(url);
  return text.startsWith("file://") ? decodeURI(text.slice("file://".length)) : text.slice(0, 200);
}

/** What tells a module's text from another text in the same place, see control/policy_module.ts. */
export const VERSION_KEY = "pellucid";

/** A module's place as its author knows it. */
export function withoutVersion(text: string): string {
  return text.replaceAll(/\?pellucid=[0-9a-f]+/g, "");
}
