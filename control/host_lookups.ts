/**
 * What the configuration's names stand for on this host: servers, secrets, interfaces. One seam, so that tests need
 * neither a name server nor an environment.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { HostExec } from "../nft/exec.ts";
import { type IpAddress, parseAddress } from "../net/mod.ts";
import { readLimited } from "./read_limited.ts";

/** An interface of our network namespace. */
export interface NumberedInterface {
  readonly name: string;
  readonly index: number;
}

/** Where names are looked up. */
export interface HostLookups {
  /** Addresses of a host, the one to be preferred first. @throws {Error} in words for the user. */
  addresses(host: string): Promise<readonly IpAddress[]>;
  /** Text of a file. @throws {Error} in words for the user, or Deno's. */
  readSecret(path: string): Promise<string>;
  /** A variable of the environment. */
  environment(name: string): string | undefined;
  /** All interfaces there are. */
  interfaces(): Promise<readonly NumberedInterface[]>;
}

/** So long a resolver may take: libc's own patience is 5 s for each of up to three servers, twice. */
const LOOKUP_TIMEOUT_MS = 10_000;
/** A file of secrets is short; one without end is none. */
const MOST_SECRET_BYTES = 64 * 1024;

/** This host, as its programs see it: names by getaddrinfo(3), which knows /etc/hosts. */
export const THIS_HOST: HostLookups = {
  async addresses(host) {
    const found = await withinTime(lookup(host, { all: true, verbatim: true }));
    return found.map(({ address }) => parseAddress(address)).filter((address) => address !== undefined);
  },
  async readSecret(path) {
    return decodeText(await readLimited(path, MOST_SECRET_BYTES));
  },
  environment: (name) => Deno.env.get(name),
  async interfaces() {
    const { code, stdout, stderr } = await new HostExec().run(["ip", "-o", "link"]);
    if (code !== 0) throw new Error(`ip -o link: ${stderr.trim() || `exit code ${code}`}`);
    return parseLinks(stdout);
  },
};

/** Index and name of each line of `ip -o link`: `2: eth0@if5: <…`. */
export function parseLinks(text: string): NumberedInterface[] {
  return [...text.matchAll(/^(\d+): ([^\s:]+?)(?:@[^\s:]*)?: </gm)].map(([, index, name]) => ({
    name: name!,
    index: Number(index),
  }));
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new TypeError("not UTF-8");
  }
}

async function withinTime<T>(work: Promise<T>): Promise<T> {
  const timeUp = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => timeUp.reject(new Error(`no answer within ${LOOKUP_TIMEOUT_MS / 1000} s`)),
    LOOKUP_TIMEOUT_MS,
  );
  try {
    return await Promise.race([work, timeUp.promise]);
  } finally {
    clearTimeout(timer);
  }
}
