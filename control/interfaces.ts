/**
 * The interfaces of our network namespace.
 *
 * @module
 */

/** All names, `lo` among them. */
export function listInterfaces(): string[] {
  // /sys may show another network namespace than ours; /proc/self/net never does. Deno.networkInterfaces()
  // leaves out those without an address.
  return parseInterfaceNames(Deno.readTextFileSync("/proc/self/net/dev"));
}

/** Interface names in the text of /proc/net/dev. */
export function parseInterfaceNames(dev: string): string[] {
  return [...dev.matchAll(/^\s*([^\s|]+):/gm)].map((match) => match[1]!);
}
