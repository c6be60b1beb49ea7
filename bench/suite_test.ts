import { assertEquals } from "../tests/assert.ts";
import { sectionsOf, takesPart } from "./suite.ts";
import { SUITES } from "./suites.ts";

Deno.test("sections: name contestants and measures that exist, and every one of them is in a table", () => {
  for (const suite of SUITES) {
    const sections = sectionsOf(suite);
    const inTables = (names: (section: typeof sections[number]) => readonly string[]) =>
      [...new Set(sections.flatMap(names))].toSorted();
    assertEquals(
      inTables(({ contestants }) => contestants),
      suite.contestants.map(({ name }) => name).toSorted(),
    );
    assertEquals(inTables(({ measures }) => measures), suite.measures.map(({ name }) => name).toSorted());
    for (const { contestants, reference } of sections) {
      assertEquals(contestants.includes(reference), true, `${suite.name}: ${reference}`);
    }
  }
});

Deno.test("targets: who has to reach one, and who it is compared with, are measured", () => {
  for (const suite of SUITES) {
    for (const target of suite.targets) {
      const { judged = suite.judged, reference = suite.reference } = target;
      for (const name of target.of === "ratio" ? [judged, reference] : [judged]) {
        const contestant = suite.contestants.find((one) => one.name === name)!;
        const measured = suite.measures.filter((measure) => target.measures.includes(measure.name));
        assertEquals(
          measured.map((measure) => takesPart(suite, contestant, measure)),
          measured.map(() => true),
        );
      }
    }
  }
});

Deno.test("takesPart: without sections everybody does, but for what there is nothing of without a relay", () => {
  const suite = SUITES.find(({ name }) => name === "tcp")!;
  const [forwarding, reference] = suite.contestants;
  for (const measure of suite.measures) {
    assertEquals(takesPart(suite, reference!, measure), true);
    assertEquals(takesPart(suite, forwarding!, measure), measure.appliesToForwarding);
  }
});
