"use strict";
// Answers "and what if" from the points that were simulated. Every figure is one of a simulation, or (of all
// tiers, where it says so) a sum of such figures; nothing is interpolated. Texts reach the page as text only.
{
  const panel = document.getElementById("explore-panel");
  const data = JSON.parse(document.getElementById("explore-data").textContent);
  const {controls, scopes, measures, rules, points, today, conf} = data;
  const inputs = controls.map((_, number) => document.getElementById(`explore-${number}`));
  const said = document.getElementById("explore-said");
  const lines = document.getElementById("explore-conf");
  const key = (at, of) => of.map((control) => at[control]).join();
  // By controls, the points by their places there: where several agree, the last.
  const tables = new Map();
  const tableOf = (of) => {
    const name = of.join();
    if (!tables.has(name)) tables.set(name, new Map(points.map((point) => [key(point[0], of), point])));
    return tables.get(name);
  };

  // -- numbers as the rest of the page writes them ------------------------------------------------------
  const number = (value) => {
    const size = Math.abs(value);
    if (size < 0.005) return "0";
    if (size < 9.995) return String(Number(value.toFixed(2)));
    if (size < 99.95) return value.toFixed(1).replace(".0", "");
    if (size < 9999.5) return value.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",");
    if (size < 999500) return `${(value / 1e3).toFixed(0)}k`;
    return `${(value / 1e6).toFixed(1)}M`;
  };
  const written = (measure, value) => {
    if (value === null) return "-";
    return measure.kind === "share" ? `${value.toFixed(1)} %` : `${number(value)}${measure.unit}`;
  };
  const range = (measure, low, high) =>
    low === null || high === null || low === high
      ? ""
      : `${written(measure, low).replace(/ %| s| GiB/, "")} to ${written(measure, high)}`;
  // The three numbers of a measure in a scope's figures: its value and the ends of its interval.
  const figure = (figures, number) => figures.slice(1 + 3 * number, 4 + 3 * number);

  // -- which simulations answer --------------------------------------------------------------------------
  const places = () => {
    const at = inputs.map((input) => Number(input.value));
    controls.forEach(({moot}, number) => {
      inputs[number].disabled = moot !== null && moot[1].includes(at[moot[0]]);
      if (inputs[number].disabled) at[number] = 0;
    });
    return at;
  };
  // The simulated points next to these places in the controls of a scope: one with nothing larger, one with
  // nothing smaller. Controls without an order must agree.
  const beside = (at, of) => {
    const ends = [1, -1].map((sign) => {
      let nearest = null;
      let least = Infinity;
      for (const point of points) {
        let apart = 0;
        for (const control of of) {
          const step = sign * (at[control] - point[0][control]);
          if (step < 0 || (step > 0 && !controls[control].ordered)) apart = Infinity;
          else apart += step / controls[control].values.length;
        }
        if (apart < least) [nearest, least] = [point, apart];
      }
      return nearest;
    });
    return ends.filter((point) => point !== null);
  };
  // By scope the points that answer: one that was simulated so, or the two beside. `whole`: one for all.
  const answers = (at) => {
    const whole = tableOf(controls.map((_, number) => number)).get(at.join());
    return scopes.map(({controls: of}) => {
      const point = whole || tableOf(of).get(key(at, of));
      return {whole: whole !== undefined, exact: point !== undefined, points: point ? [point] : beside(at, of)};
    });
  };
  // Figures of all tiers, added up from those of each tier. A percentile of all is between those of tiers.
  const added = (parts) => {
    const creates = parts.reduce((sum, of) => sum + of[0], 0);
    return measures.map((measure, number) => {
      const values = parts.filter((of) => of[0] > 0).map((of) => [of[0], ...figure(of, number)]);
      if (values.some((of) => of[1] === null)) return [null, null, null];
      if (measure.kind === "percentile") {
        const each = values.map((of) => of[1]);
        return [null, Math.min(...each), Math.max(...each)];
      }
      return [1, 2, 3].map((end) => {
        if (values.some((of) => of[end] === null)) return null;
        const weight = (of) => (measure.kind === "share" ? of[0] / creates : 1);
        return values.reduce((sum, of) => sum + weight(of) * of[end], 0);
      });
    });
  };

  // -- what is shown --------------------------------------------------------------------------------------
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const settings = (point, of) =>
    of.filter((control) => !(controls[control].moot || [0, []])[1].includes(point[0][(controls[control].moot || [0])[0]]))
      .map((control) => `${controls[control].label} ${controls[control].values[point[0][control]]}`)
      .join(", ");
  const row = (measure, values, told, now) => {
    const line = make("div");
    const value = make("dd");
    const [middle, low, high] = values;
    value.append(make("strong", middle === null && low !== null
      ? `${written(measure, low)} to ${written(measure, high)}` : written(measure, middle)));
    if (told) value.append(make("span", told, "interval"));
    const same = make("span", `today ${written(measure, now)}`, "today");
    if (now !== null && middle !== null && written(measure, middle) !== written(measure, now)) {
      const word = (middle > now) === measure.more ? "better" : "worse";
      same.append(": ", make("b", word, word));
    }
    value.append(same);
    line.append(make("dt", measure.name), value);
    return line;
  };
  const card = (scope, number, answer, sum) => {
    const box = make("div", undefined, "card");
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", scope.title);
    box.append(make("h3", scope.title));
    let note = "";
    if (sum) note = "Added up from the tiers.";
    else if (!answer.points.length) note = "Nothing like it was simulated.";
    else if (!answer.exact) {
      const each = answer.points.map((point) => settings(point, scope.controls)).join(" / ");
      note = `Not simulated. ${answer.points.length > 1 ? "The two beside it" : "The nearest"}: ${each}.`;
    }
    else if (!answer.whole) note = "Simulated so, but beside other limits of the other tiers.";
    if (note) box.append(make("p", note, "note"));
    const list = make("dl");
    measures.forEach((measure, at) => {
      const now = figure(today[number], at)[0];
      if (sum) return list.append(row(measure, sum[at], sum[at][0] === null ? "" : range(measure, sum[at][1], sum[at][2]), now));
      if (!answer.points.length) return list.append(row(measure, [null, null, null], "", now));
      const each = answer.points.map((point) => figure(point[1][number], at));
      if (each.length === 1) return list.append(row(measure, each[0], range(measure, each[0][1], each[0][2]), now));
      const both = each.map((of) => written(measure, of[0])).join(" / ");
      const ends = each.map((of) => range(measure, of[1], of[2]));
      const line = row(measure, [null, null, null], ends.every(Boolean) ? ends.join(" / ") : "", now);
      line.querySelector("strong").textContent = both;
      return list.append(line);
    });
    box.append(list);
    return box;
  };
  const broken = (at, whole) => {
    const found = [];
    rules.forEach(({text, controls: of}, number) => {
      const point = whole || tableOf(of).get(key(at, of));
      const near = point ? [point] : beside(at, of);
      const count = near.filter((each) => each[2].includes(number)).length;
      if (count) found.push(point || count === near.length ? text : `${text} (in one of the two beside)`);
    });
    return found;
  };
  const confOf = (at, whole) => {
    if (conf.texts) return whole ? conf.texts[conf.of[points.indexOf(whole)]] : "# not simulated";
    let some = false;
    const sections = conf.sections.map(({off, on, controls: of}) => {
      if (!of || at[of[0]] === 0) return off;
      some = true;
      const [size, count] = of.map((control) => controls[control].values[at[control]].replace(/,/g, ""));
      return [on[0], size, on[1], count].map((part) => (part === "no limit" ? "0" : part)).join("");
    });
    return [conf.heads[at[conf.strategy]][some ? 1 : 0], ...sections].join("\n\n");
  };
  const show = () => {
    const at = places();
    inputs.forEach((input, number) => {
      const text = input.disabled ? "does not count" : controls[number].values[at[number]];
      if (input.type === "range") {
        input.setAttribute("aria-valuetext", text);
        document.getElementById(`explore-${number}-value`).textContent = text;
      }
    });
    const found = answers(at);
    const whole = found[0].whole ? found[0].points[0] : undefined;
    const tiers = found.slice(1);
    const sums = data.adds && !found[0].exact && tiers.length > 0 && tiers.every((answer) => answer.exact);
    const sum = sums ? added(tiers.map((answer, number) => answer.points[0][1][number + 1])) : null;
    const cards = document.getElementById("explore-cards");
    cards.replaceChildren(...scopes.map((scope, number) => card(scope, number, found[number], number === 0 ? sum : null)));
    const breaks = broken(at, whole);
    document.getElementById("explore-broken").replaceChildren(...breaks.map((text) => make("li", text)));
    document.getElementById("explore-breaks").hidden = breaks.length === 0;
    const hits = cards.querySelector("strong").textContent;
    const how = whole ? "Simulated as a whole." : sums
      ? "Each tier was simulated so, but not all at once. They share Glance and locks: p95 and failed creates may differ."
      : "Not simulated: see what is beside.";
    const kept = breaks.length ? ` Breaks ${breaks.length} of its bounds.` : rules.length ? " Breaks no bound." : "";
    said.textContent = `${how} ${hits} ${measures[0].name}.${kept}`;
    said.className = whole ? "" : "near";
    lines.textContent = confOf(at, whole);
  };
  const set = (at) => inputs.forEach((input, number) => { input.value = String(at[number]); });
  const fromAddress = () => {
    const told = /^#explore=([\d,]+)$/.exec(location.hash);
    const at = told ? told[1].split(",").map(Number) : [];
    if (at.length === inputs.length && at.every((place, number) => place < controls[number].values.length)) set(at);
  };
  set(data.start);
  fromAddress();
  panel.hidden = false;
  show();
  for (const input of inputs) input.addEventListener("input", show);
  document.getElementById("explore-start").addEventListener("click", () => { set(data.start); show(); });
  window.addEventListener("hashchange", () => { fromAddress(); show(); });
}
