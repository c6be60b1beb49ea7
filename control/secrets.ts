/**
 * Passwords, from where the configuration says they are. What is wrong with one never says what it is.
 *
 * @module
 */
import { secretProblem } from "../config/check_upstreams.ts";
import type { ConfigIssue, SecretConfig } from "../config/mod.ts";
import type { HostLookups } from "./host_lookups.ts";

/**
 * The text of a password.
 *
 * @param path of the upstream, in the file: `upstream.office`.
 * @returns undefined when there is none, which has become an issue.
 */
export async function readSecret(
  path: string,
  kind: "socks5" | "http",
  secret: SecretConfig,
  host: HostLookups,
  issues: ConfigIssue[],
): Promise<string | undefined> {
  switch (secret.kind) {
    case "text":
      return secret.text;
    case "env":
      return checked(
        `${path}.password-env`,
        kind,
        secret.name,
        readVariable(path, secret.name, host, issues),
        issues,
      );
    case "file":
      return checked(
        `${path}.password-file`,
        kind,
        secret.path,
        await readFile(path, secret.path, host, issues),
        issues,
      );
  }
}

function readVariable(
  path: string,
  name: string,
  host: HostLookups,
  issues: ConfigIssue[],
): string | undefined {
  const text = host.environment(name);
  if (text !== undefined && text !== "") return text;
  issues.push({
    path: `${path}.password-env`,
    found: `${name}, which is ${text === undefined ? "not set" : "empty"}`,
    wanted: "a password in it",
  });
  return undefined;
}

async function readFile(
  path: string,
  file: string,
  host: HostLookups,
  issues: ConfigIssue[],
): Promise<string | undefined> {
  const at = `${path}.password-file`;
  let text: string;
  try {
    text = (await host.readSecret(file)).replace(/\r?\n$/, "");
  } catch (error) {
    issues.push({ path: at, found: `${file}: ${messageOf(error)}`, wanted: "a file that can be read" });
    return undefined;
  }
  if (text !== "") return text;
  issues.push({ path: at, found: `${file}, which is empty`, wanted: "a password in it" });
  return undefined;
}

function checked(
  path: string,
  kind: "socks5" | "http",
  source: string,
  text: string | undefined,
  issues: ConfigIssue[],
): string | undefined {
  const problem = text === undefined ? undefined : secretProblem(kind, text);
  if (problem === undefined) return text;
  issues.push({ path, found: `${problem.found} in ${source}`, wanted: problem.wanted });
  return undefined;
}

/** Deno puts the path behind its own words; it has been named. */
function messageOf(error: unknown): string {
  return error instanceof Error
    ? error.message.replace(/: (?:read|readfile|stat|open) .*$/, "")
    : String(error);
}
