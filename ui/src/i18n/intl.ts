// Numbers and plural forms within the texts of one language.

type Form = "zero" | "one" | "two" | "few" | "many";

interface Wording<F extends Form> {
  /** The number, grouped as the language groups. */
  n: (value: number) => string;
  /** The form that `count` asks for; `#` in it becomes the number. */
  many: (count: number, forms: Record<F | "other", string>) => string;
}

/**
 * `F` names the plural forms of the language beside `other`, so that none can be left out; a form
 * that only millions ask for need not be there, and `other` stands for it.
 */
export function wording<F extends Form = never>(tag: string): Wording<F> {
  const rules = new Intl.PluralRules(tag);
  const numbers = new Intl.NumberFormat(tag);
  const n = (value: number): string => numbers.format(value);
  return {
    n,
    many: (count, forms) => {
      const known: Partial<Record<Intl.LDMLPluralRule, string>> & { other: string } = forms;
      return (known[rules.select(count)] ?? known.other).replaceAll("#", n(count));
    },
  };
}
