// Plays the race day by day. Without it the page shows the last day, with the same numbers.
"use strict";

const MS_PER_DAY = 220;

// Before anything is drawn: the end must not be seen before the beginning.
document.documentElement.classList.add("live");
document.addEventListener("DOMContentLoaded", () => {
  const race = document.getElementById("race");
  if (race) play(race);
});

function play(race) {
  const days = Number(race.dataset.days);
  const button = document.getElementById("play");
  const slider = document.getElementById("day");
  const shown = document.getElementById("shown");
  const cells = [...race.querySelectorAll("[data-day]")];
  const tallies = [...race.querySelectorAll("[data-counts]")].map((element) => ({
    element,
    counts: element.dataset.counts.split(" "),
    picture: element.closest("section").querySelector("svg"),
  }));
  const lines = [...race.querySelectorAll(".run")].map((element) => ({
    element,
    points: element.getAttribute("points").split(" "),
  }));
  let day = days;
  let timer = 0;

  function show(next) {
    day = next;
    for (const cell of cells) cell.classList.toggle("won", Number(cell.dataset.day) <= day);
    for (const { element, counts, picture } of tallies) {
      element.textContent = counts[day];
      picture.setAttribute("aria-label", `${counts[day]} ${picture.dataset.words} day ${day}`);
    }
    for (const { element, points } of lines) element.setAttribute("points", points.slice(0, day + 1).join(" "));
    slider.value = day;
    slider.setAttribute("aria-valuetext", `day ${day} of ${days}`);
    shown.textContent = `day ${day} of ${days}`;
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    button.textContent = day < days ? "Go on" : "Play again";
  }

  function start() {
    if (day === days) show(0);
    button.textContent = "Pause";
    timer = setInterval(() => {
      show(day + 1);
      if (day === days) stop();
    }, MS_PER_DAY);
  }

  button.addEventListener("click", () => (timer ? stop() : start()));
  slider.addEventListener("input", () => {
    show(Number(slider.value));
    stop();
  });
  button.closest(".play").hidden = false;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) stop();
  else start();
  race.classList.add("ready");
}
