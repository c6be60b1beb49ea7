/**
 * Ethernet addresses.
 *
 * @module
 */

/**
 * Reads six pairs of hexadecimal digits with colons between them.
 *
 * @returns the address in lower case, or undefined when `text` is none that a frame could come from: the lowest bit
 * of the first byte names a group (IEEE 802, 8.2.2), and all zeros nobody.
 */
export function parseMac(text: string): string | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const mac = text.toLowerCase();
  const namesGroup = (parseInt(mac.slice(0, 2), 16) & 1) === 1;
  return namesGroup || mac === "00:00:00:00:00:00" ? undefined : mac;
}
