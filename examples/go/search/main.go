// Prints the line of standard input whose meaning is closest to a question:  search MODEL.qrn QUESTION < LINES
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"quern"
)

func search(path, question string) error {
	var lines []string
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		lines = append(lines, in.Text())
	}
	c, err := quern.NewContext(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	model, err := c.Open(path, nil)
	if err != nil {
		return err
	}
	defer model.Close()
	session, err := model.NewSession(nil)
	if err != nil {
		return err
	}
	defer session.Close()
	vectors, err := session.Embed(context.Background(), append(lines, question)...)
	if err != nil {
		return err
	}
	best, answer := float32(-2), ""
	for i, line := range lines {
		if score := c.Dot(vectors[len(lines)], vectors[i]); score > best {
			best, answer = score, line
		}
	}
	fmt.Printf("%.3f  %s\n", best, answer)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: search MODEL.qrn QUESTION < LINES")
		os.Exit(2)
	}
	if err := search(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "search:", err)
		os.Exit(1)
	}
}
