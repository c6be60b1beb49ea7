/**
 * Names of network interfaces, and patterns of them.
 *
 * @module
 */

/** IFNAMSIZ less the final zero. */
const NAME_BYTES = 15;

/**
 * The kernel's dev_valid_name(): 1 to 15 bytes, no slash, colon or white space, not "." or ".."; and no
 * control characters, nor those that nft cannot quote, or that nft (`*`) or iptables (`+` at the end) would expand.
 */
export function isInterfaceName(name: string): boolean {
  return name !== "" && !name.includes("*") && !name.endsWith("+") && fitsKernel(name);
}

/** A name, or a pattern that a name can fit. */
export function isInterfaceNameOrPattern(name: string): boolean {
  return isInterfacePattern(name) ? fitsKernel(name.replaceAll("*", "")) : isInterfaceName(name);
}

/** Whether a name has to be looked up among the interfaces there are. */
export function isInterfacePattern(name: string): boolean {
  return name.includes("*");
}

/** Whether `name` is what `pattern` says, where `*` stands for any characters or none; `lo` is only meant by name. */
export function fitsInterfacePattern(pattern: string, name: string): boolean {
  if (!isInterfacePattern(pattern)) return pattern === name;
  if (name === "lo") return false;
  const [head, ...parts] = pattern.split("*") as [string, ...string[]];
  const tail = parts.pop()!;
  if (!name.startsWith(head)) return false;
  let at = head.length;
  // The first place where a part fits leaves the most for those after it.
  for (const part of parts) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - tail.length >= at && name.endsWith(tail);
}

function fitsKernel(name: string): boolean {
  return !/[\s\p{Cc}/:"\\]/u.test(name) && name !== "." && name !== ".." &&
    new TextEncoder().encode(name).length <= NAME_BYTES;
}
