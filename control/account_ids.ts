/**
 * Names of users and groups into numbers, by /etc/passwd and /etc/group.
 *
 * Other directories (LDAP, systemd's users) are behind the C library, which is not asked: their users have numbers
 * that can be given instead.
 *
 * @module
 */
import type { Account, ConfigIssue } from "../config/mod.ts";
import type { IdRange } from "../net/mod.ts";

/** Files of the same form in their first three fields: `name:password:number:…`. */
const FILES = { user: "/etc/passwd", group: "/etc/group" } as const;
/** What an account is. */
export type AccountKind = keyof typeof FILES;

/** Numbers of accounts; the files are read when a name is asked for, and then once. */
export class AccountIds {
  readonly #read: (path: string) => string;
  readonly #ids = new Map<AccountKind, ReadonlyMap<string, number>>();

  /** `read` is for tests. */
  constructor(read: (path: string) => string = Deno.readTextFileSync) {
    this.#read = read;
  }

  /** The numbers of `accounts`; a name that cannot be found becomes an issue of `path`. */
  resolve(kind: AccountKind, path: string, accounts: readonly Account[], issues: ConfigIssue[]): IdRange[] {
    const ranges: IdRange[] = [];
    for (const account of accounts) {
      if (!("name" in account)) {
        ranges.push(account);
        continue;
      }
      const id = this.#idsOf(kind).get(account.name);
      if (id !== undefined) ranges.push({ first: id, last: id });
      else {
        issues.push({
          path,
          found: JSON.stringify(account.name),
          wanted: `a ${kind} that ${FILES[kind]} names`,
          hint: "a number can be given as well",
        });
      }
    }
    return ranges;
  }

  #idsOf(kind: AccountKind): ReadonlyMap<string, number> {
    const known = this.#ids.get(kind) ?? parseAccountIds(this.#readIfThere(FILES[kind]));
    this.#ids.set(kind, known);
    return known;
  }

  #readIfThere(path: string): string {
    try {
      return this.#read(path);
    } catch (error) {
      // A container without users has no such file.
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  }
}

/** Names and numbers in the text of passwd(5) or group(5); of two lines with one name the first counts, as for libc. */
export function parseAccountIds(text: string): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [, name, id] of text.matchAll(/^([^:\n#][^:\n]*):[^:\n]*:(\d{1,10})(?=[:\n]|$)/gm)) {
    if (!ids.has(name!)) ids.set(name!, Number(id));
  }
  return ids;
}
