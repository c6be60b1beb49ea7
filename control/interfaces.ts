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

/** Text that changes when a name comes, goes, or is another interface's; of interfaces that are up, which others need not be. */
export function listInterfaceNumbers(): string {
  const numbers = [
    ...readIfThere("/proc/self/net/igmp").matchAll(/^(\d+)\t(\S+)/gm),
    ...readIfThere("/proc/self/net/dev_mcast").matchAll(/^(\d+)\s+(\S+)/gm),
  ].map(([, index, name]) => `${index} ${name}`);
  return [...listInterfaces(), ...new Set(numbers)].sort().join("\n");
}

function readIfThere(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
