import { assertEquals } from "../tests/assert.ts";
import { nearest } from "./nearest.ts";

Deno.test("nearest: a slip is recognised, another word is not", () => {
  const words = ["port", "from", "local", "max-connections", "max-connections-per-client"];
  const cases: [string, string | undefined][] = [
    ["prot", "port"], // neighbours swapped
    ["form", "from"],
    ["loacl", "local"],
    ["max-conections", "max-connections"],
    ["max-connections-per-clients", "max-connections-per-client"],
    ["maxconnections", "max-connections"],
    ["verbose", undefined],
    ["x", undefined],
  ];
  for (const [word, wanted] of cases) assertEquals(nearest(word, words), wanted, word);
});
